/* The text token by token. Python sends lines of JSON (gpt2/ui/generate/lines.py) and only what is
 * new is added to the page: tokens are set as text, never as HTML.
 */
"use strict";

const TINTS = ["probability", "rank", "entropy"]; // in this order the levels of a token come
const CLASSES = 4; // colours that there are, see class_color in gpt2/figures
const MOST_PROMPT_TOKENS = 64; // of a long prompt only its end is shown

/** A text as its lines tell it. */
class Text {
    constructor(first, number) {
        Object.assign(this, first); // model, settings, prompt, chosen, ids and texts of the prompt
        this.number = number;
        this.lines = [];
        this.drawn = [];
        this.ids = [...first.ids];
    }

    add([id, text, prob, rank, entropy, levels]) {
        this.ids.push(id);
        this.drawn.push({ text, prob, rank, entropy, levels });
    }

    /** What the server needs to know of it: see gpt2/ui/record.py. */
    sent() {
        const { model, prompt, settings, chosen, ids, prompt_length, labels } = this;
        return { model, prompt, settings, chosen, ids, prompt_length, labels };
    }
}

class Strip {
    constructor(stage, element) {
        this.stage = stage;
        this.box = element.querySelector(".strip");
        this.status = element.querySelector(".status");
        this.key = element.querySelector(".legend"); // of the colours
        this.first = "";
        this.read = 0; // lines
        this.text = null; // that is written
        this.before = null; // that was written last
        this.by = "probability";
        stage.strip = this;
        this.box.addEventListener("click", (event) => this.clicked(event));
        this.box.addEventListener("keydown", (event) => this.pressed(event));
        this.place = element.querySelector(".strip-place");
        this.legends = element.querySelectorAll(".legend");
        if (this.place) {
            new IntersectionObserver(() => this.stick(), { threshold: [0, 0.01, 1] }).observe(this.place);
            addEventListener("scroll", () => this.stick(), { passive: true });
        }
        this.radios = element.querySelectorAll("[name$=tint]");
        for (const radio of this.radios) radio.addEventListener("change", () => this.tint(radio.value));
        this.tint(this.by);
    }

    /** Lines of JSON, of which some may have been read before. */
    feed(value) {
        const lines = (value || "").split("\n").filter(Boolean);
        if (!lines.length) return;
        if (lines[0] !== this.first || this.read > lines.length) {
            this.first = lines[0];
            this.read = 0;
        }
        for (const line of lines.slice(this.read)) this.line(JSON.parse(line));
        this.read = lines.length;
    }

    line([kind, ...rest]) {
        if (kind === "text") this.begin(rest[0]);
        else if (kind === "token") this.token(rest);
        else if (kind === "said") this.say(rest[0]);
        else if (kind === "end") this.end(rest[0]);
        else if (kind === "refused") this.refuse(rest[0]);
    }

    begin(first) {
        this.text = new Text(first, ++gpt2.moments);
        this.draw_prompt();
        this.say("Reading the prompt …");
        this.stage.text = this.text;
        this.stage.begin();
        const { wish, triggers } = this.stage;
        triggers.strip(wish?.fill ? "fill" : "seeded");
        if (wish?.fill) this.stage.wish = null;
    }

    draw_prompt() {
        const { texts, prompt_length } = this.text;
        const from = Math.max(0, prompt_length - MOST_PROMPT_TOKENS);
        const parts = [];
        if (from) parts.push(made("span", "earlier", `… ${from.toLocaleString("en")} earlier tokens `));
        for (let index = from; index < prompt_length; index++) {
            parts.push(this.made_token(index, texts[index], "prompt token"));
        }
        this.box.replaceChildren(...parts);
    }

    token(values) {
        this.text.add(values);
        this.box.append(this.drawn_token(this.text.drawn.length - 1));
    }

    drawn_token(n) {
        const { text, prob, rank, entropy, levels } = this.text.drawn[n];
        const index = this.text.prompt_length + n;
        const said = `token ${index} · ${prob} · rank ${rank.toLocaleString("en")} · entropy ${entropy} nats`;
        const token = this.made_token(index, text, said);
        token.classList.add(`tint-${levels[TINTS.indexOf(this.by)]}`);
        return token;
    }

    made_token(index, text, said) {
        const token = made("span", said === "prompt token" ? "prompt" : "drawn");
        const unpredicted = index < this.stage.first;
        token.title = unpredicted ? "the first token, predicted from nothing" : said;
        if (!text) token.classList.add("part"); // of a character, which a later token completes
        for (const [n, part] of text.split("\n").entries()) {
            if (n) token.append(made("span", "mark"), "\n");
            if (part) token.append(part);
        }
        token.dataset.index = index;
        token.setAttribute("role", "option");
        token.setAttribute("aria-selected", "false");
        token.tabIndex = -1;
        if (unpredicted) token.setAttribute("aria-disabled", "true");
        return token;
    }

    say(words) {
        this.status.textContent = words;
        this.status.classList.remove("refused");
    }

    /** What was asked for can't be had; the text that was there stays. */
    refuse(words) {
        const { stage } = this;
        stage.writing = false;
        if (stage.text !== this.before) this.again(this.before);
        stage.follow();
        this.status.textContent = words;
        this.status.classList.add("refused");
    }

    end({ status, selected, completion, proof, verdict, look, preset }) {
        const text = this.text;
        Object.assign(text, { status, completion, proof, preset });
        this.say(verdict ? `${status} · ${verdict}` : status);
        this.before = text;
        if (look) {
            Object.assign(this.stage.look, look);
            if (look.view) this.stage.show(look.view);
        }
        this.stage.stand(text, selected);
        this.stage.branches?.grown(text);
    }

    /** Another text that was written here before. */
    again(text) {
        this.text = this.before = text;
        if (!text) {
            this.box.replaceChildren();
            this.stage.text = null;
            return;
        }
        this.draw_prompt();
        for (let n = 0; n < text.drawn.length; n++) this.box.append(this.drawn_token(n));
        this.say(text.status);
        this.stage.stand(text, text.selected ?? text.prompt_length);
    }

    tint(by) {
        this.by = by;
        const at = TINTS.indexOf(by);
        for (const token of this.box.querySelectorAll(".drawn")) {
            const drawn = this.text.drawn[token.dataset.index - this.text.prompt_length];
            token.className = token.className.replace(/tint-\d+/, `tint-${drawn.levels[at]}`);
        }
        for (const radio of this.radios) radio.checked = radio.value === by;
        for (const legend of this.legends) legend.hidden = legend.dataset.by !== by;
    }

    /** On a narrow screen two lines of the text stay on top while a view is read. */
    stick() {
        const gone = this.place.getBoundingClientRect().bottom < 70;
        const stuck = gone && matchMedia("(max-width: 1023px)").matches && this.box.childElementCount > 0;
        if (stuck === this.box.classList.contains("stuck")) return;
        this.place.style.minHeight = stuck ? `${this.place.offsetHeight}px` : "";
        this.box.classList.toggle("stuck", stuck);
        this.seen(this.box.querySelector("[aria-selected=true]"));
    }

    /** Scroll inside the strip, never the page, until a token can be seen. */
    seen(token) {
        if (!token) return;
        const { top, bottom } = token.getBoundingClientRect();
        const box = this.box.getBoundingClientRect();
        if (top < box.top || bottom > box.bottom) {
            this.box.scrollTop += top - box.top - this.box.clientHeight / 3;
        }
    }

    /** The mark is where the record says; one token of the strip is a stop of the Tab key. */
    mark(index) {
        for (const token of this.box.querySelectorAll("[aria-selected=true], [tabindex='0']")) {
            token.setAttribute("aria-selected", "false");
            token.tabIndex = -1;
        }
        const token = this.box.querySelector(`[data-index="${index ?? -1}"]`);
        const stop = token || this.box.querySelector("[role=option]:not([aria-disabled])");
        if (stop) stop.tabIndex = 0;
        if (!token) return;
        token.setAttribute("aria-selected", "true");
        if (this.box.contains(document.activeElement)) token.focus({ preventScroll: true });
        this.seen(token);
    }

    clicked(event) {
        const token = event.target.closest("[data-index]");
        if (!token || token.ariaDisabled || !getSelection().isCollapsed) return;
        token.focus({ preventScroll: true });
        this.stage.pick(Number(token.dataset.index));
    }

    pressed(event) {
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        this.stage.pick((this.stage.look.token ?? 0) + step);
    }
}

function made(name, kind, words) {
    const element = document.createElement(name);
    element.className = kind;
    if (words !== undefined) element.textContent = words;
    return element;
}

/** A news text, read at once: each token has the colour of the class that leads after it. */
class NewsStrip extends Strip {
    constructor(stage, element) {
        super(stage, element);
        stage.empty ??= "Classify a text, or click an example.";
    }

    line([kind, ...rest]) {
        if (kind === "read") this.lead(rest[0]);
        else super.line([kind, ...rest]);
    }

    begin(first) {
        this.text = new Text(first, ++gpt2.moments);
        this.stage.text = this.text;
        this.stage.begin();
    }

    /** Pairs of a class and its percentage, one for each token. */
    lead(leaders) {
        this.text.leaders = leaders;
        this.draw_prompt();
    }

    draw_prompt() {
        const { texts, leaders, labels } = this.text;
        this.box.replaceChildren(
            ...texts.map((text, index) => {
                const [leader, share] = leaders[index];
                const token = this.made_token(index, text, `token ${index} · after it ${labels[leader]} ${share}`);
                token.classList.add("read", `class-${leader % CLASSES}`);
                return token;
            })
        );
        this.key.replaceChildren(
            "Leading topic after each token: ",
            ...labels.map((label, n) => made("span", `key class-${n % CLASSES}`, label))
        );
    }

    end(last) {
        super.end(last);
        if (!this.stage.wish) return;
        this.stage.wish = null;
        this.stage.triggers.strip("fill"); // it is not what the form holds
    }

    refuse(words) {
        super.refuse(words);
        this.stage.wish = null;
    }
}

/** Buttons that hold a text: one click has it read. */
document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-prompt]");
    const stage = button && gpt2.open_stage();
    if (stage && !stage.writing) stage.want({ prompt: button.dataset.prompt, model: stage.text?.model });
});

gpt2.strip = (element, watch, props, trigger, tab) => {
    const stage = gpt2.stage(tab);
    stage.triggers.strip = trigger;
    const strip = tab === "classify" ? new NewsStrip(stage, element) : new Strip(stage, element);
    watch("value", () => strip.feed(props.value));
    if (tab === "generate") {
        stage.branches = new Branches(stage);
        stage.empty = "Write a text, or click one of the row Try.";
    }
    gpt2.copy.bind(stage, element);
    gpt2.opening.adopt(stage);
    if (stage.wish) trigger("wanted"); // before there was a strip
    gpt2.address.ready(stage);
    stage.follow();
};
