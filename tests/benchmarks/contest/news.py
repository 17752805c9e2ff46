"""News to classify and to begin texts with: sentences of no corpus, put together at random."""

import random
from pathlib import Path

from gpt2.agnews.news import read_agnews

SENTENCES = (
    "Oil prices climbed on Monday as refineries along the coast shut down ahead of the storm.",
    "The striker scored twice in the last ten minutes to send her team to the final.",
    "Peace talks resumed in Geneva after a week of fighting along the border.",
    "A small telescope on a mountain in Chile has found a planet the size of Earth.",
    "The phone maker said its new chip will double the battery life of next year's handsets.",
    "Shares of the airline fell 6 percent after it warned of a loss in the third quarter.",
    "Voters in the capital queued for hours to choose a new parliament.",
    "The defending champion lost in straight sets to a qualifier ranked 143rd in the world.",
    "Researchers have built a robot that folds laundry, slowly, and without being shown how.",
    "The central bank left interest rates unchanged for the fourth month in a row.",
    "Rescue teams searched the rubble for survivors of the earthquake that killed dozens.",
    "The company will pay $1.2 billion in cash for its smaller rival, both said in a statement.",
    "A bug in the browser lets attackers read passwords that are typed on other pages.",
    "The coach said that his goalkeeper would miss the rest of the season with a broken hand.",
    "The minister resigned on Tuesday over payments that he had not declared.",
    "Sales of digital cameras rose by a third over the holidays, and prices went on falling.",
    "Engineers lost contact with the probe shortly before it was to enter the orbit of Mars.",
    "The home side won by seven wickets with two days to spare.",
    "Prosecutors asked for eight years in prison for the former head of the energy trader.",
    "Thousands marched through the city to protest against the cuts in pensions.",
    "Retailers expect the slowest December for a decade, a survey of 400 shops showed.",
    "The free operating system now runs on more servers than any other, its makers say.",
    "He set a world record over 200 metres in a race that he had not planned to run.",
    "The two countries agreed to reopen the railway that links their capitals.",
)


def rows(count: int, data: Path | None) -> list[str]:
    """Texts of 15 to 110 tokens, AG News being as long; or the first of an AG News CSV."""
    if data is not None:
        return list(read_agnews(data).texts[:count])
    chance = random.Random(0)
    lengths = (chance.choice((1, 2, 2, 3, 3, 3, 4, 5)) for _ in range(count))
    return [" ".join(chance.sample(SENTENCES, length)) for length in lengths]


def prompt(number: int) -> str:
    """The beginning of a text, another one for each number up to some thousands."""
    chance = random.Random(number)
    first, second = chance.sample(SENTENCES, 2)
    return f"{first} {' '.join(second.split()[:3])}"
