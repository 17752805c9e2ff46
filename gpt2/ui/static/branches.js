/* Texts that began as one: the tree of them, and going on with another token. */
"use strict";

const MOST_BRANCHES = 24;

class Branches {
    constructor(stage) {
        this.stage = stage;
        this.texts = []; // {text, parent, place}
        this.current = -1;
        this.place = null; // of the branch that is being written
        this.box = document.getElementById("tree");
        this.box.addEventListener("click", (event) => {
            const button = event.target.closest("button[data-choice]");
            if (button) this.walk(Number(button.dataset.choice));
        });
    }

    /** Write the text again with other tokens at the selected place: ids, or words to be read. */
    go_on({ ids = [], typed = "" }) {
        const { text, look, writing } = this.stage;
        if (!text || writing || (!ids.length && !typed)) return;
        const place = look.token;
        if (place < text.prompt_length) return this.stage.strip.say("This token is of your prompt; change it there.");
        if (this.texts.length >= MOST_BRANCHES) {
            return this.stage.strip.refuse(`this text has ${MOST_BRANCHES} branches, the limit; generate a new text`);
        }
        const chosen = text.chosen.filter((pair) => pair[0] < place);
        chosen.push(...ids.map((id, n) => [place + n, id]));
        this.place = place;
        const { model, prompt, settings } = text;
        this.stage.want({ model, prompt, settings, chosen, typed, place });
    }

    grown(text) {
        if (this.place === null) {
            this.texts = [{ text, parent: -1, place: 0 }];
            this.current = 0;
        } else {
            this.texts.push({ text, parent: this.current, place: this.place });
            this.current = this.texts.length - 1;
        }
        this.place = null;
        this.draw();
    }

    walk(number) {
        if (this.stage.writing || !this.texts[number]) return;
        this.texts[this.current].text.selected = this.stage.look.token;
        this.current = number;
        this.stage.strip.again(this.texts[number].text);
        this.draw();
    }

    draw() {
        this.box.replaceChildren();
        if (this.texts.length < 2) return;
        const list = this.item(0);
        const tree = made("ul", "tree");
        tree.setAttribute("aria-label", "Branches");
        tree.append(list);
        this.box.append(tree);
        const { text, parent } = this.texts[this.current];
        if (parent >= 0) {
            const names = [`Text ${parent + 1}`, `Text ${this.current + 1}`];
            this.box.append(compared(this.texts[parent].text.completion, text.completion, names));
        }
    }

    item(number) {
        const { text, parent, place } = this.texts[number];
        const item = made("li", "");
        const button = made("button", "", String(number + 1));
        button.type = "button";
        button.dataset.choice = number;
        button.setAttribute("aria-label", `Text ${number + 1}`);
        item.append(button, " ");
        const tokens = text.drawn.slice(parent < 0 ? 0 : place - text.prompt_length);
        const words = tokens.slice(0, 12).map((token) => token.text).join("");
        item.append(made("q", "", `${words.trim()} …`));
        if (parent >= 0) item.append(made("span", "note", ` from token ${place}`));
        if (number === this.current) {
            button.setAttribute("aria-current", "true");
            if (parent >= 0) {
                const undo = made("button", "", "Undo");
                undo.type = "button";
                undo.dataset.choice = parent;
                item.append(" ", undo);
            }
        }
        const below = this.texts.map((_, other) => other).filter((other) => this.texts[other].parent === number);
        if (below.length) {
            const list = made("ul", "");
            list.append(...below.map((other) => this.item(other)));
            item.append(list);
        }
        return item;
    }
}

/** Two texts side by side; what they do not share is marked. */
function compared(before, after, names) {
    const [first, second] = [[...before], [...after]];
    let same = 0;
    while (same < Math.min(first.length, second.length) && first[same] === second[same]) same++;
    const box = made("div", "compare");
    box.translate = false;
    for (const [n, words] of [first, second].entries()) {
        const side = made("div", "");
        const shown = made("p", "", words.slice(0, same).join(""));
        shown.append(made("mark", "", words.slice(same).join("")));
        side.append(made("b", "", names[n]), shown);
        box.append(side);
    }
    return box;
}

/** In the view of the next token: a click goes on from what is clicked, or what was typed. */
document.addEventListener("click", (event) => {
    const button = event.target.closest(".choices button[data-choice]");
    if (button && !button.closest(".waiting")) gpt2.stage("generate").branches.go_on({ ids: [Number(button.dataset.choice)] });
});
document.addEventListener("submit", (event) => {
    if (!event.target.matches(".typed")) return;
    event.preventDefault();
    const field = event.target.elements.typed;
    gpt2.stage("generate").branches.go_on({ typed: field.value });
    field.value = "";
});
