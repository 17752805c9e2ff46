/* What is seen before Gradio has built the page: the example, drawn by the same code as the page's
 * own text and view into what looks like the page (gpt2/ui/opening.py), and then handed to those.
 */
"use strict";

const PATIENCE_MS = 8000; // until the page is shown as it is, whatever is missing
const STILL_FRAMES = 40; // in which nothing moved, though not all is where it was seen

gpt2.opening = {
    example: null, // {lines, view, answers: [[width, answer] ...]}
    text: null, // once the page has it
    look: {},
    offered: false, // whether its prompt was selected, to be typed over
    seen: null, // the view and the strip in what looks like the page

    /** Called where the HTML ends, so that the first frame has it. A link shows its own text, and
     * a page that is loaded again the one that stood there. */
    paint() {
        const root = document.getElementById("opening");
        const linked = document.documentElement.classList.contains("linked");
        const stood = gpt2.address.same && gpt2.kept.read("stands.generate");
        if (linked || stood) return root.remove();
        this.example = JSON.parse(document.getElementById("example").textContent);
        document.documentElement.classList.add("opening");
        const stage = new Stage("generate");
        stage.triggers.strip = () => {};
        const strip = new Strip(stage, root.querySelector("#generate-text"));
        stage.follow = () => strip.mark(stage.look.token);
        strip.feed(this.example.lines);
        stage.show(this.example.view);
        gpt2.presets.mark(root, stage.text);
        root.querySelector(".copy")?.removeAttribute("hidden"); // as it is beside any text
        const view = new View(stage, this.example.view);
        view.place(root.querySelector(`#generate-${this.example.view} .html-container > *`));
        view.say();
        const answer = this.fitting(view);
        for (const slot of view.slots) view.fill(slot, view.piece(slot.dataset.slot, answer));
        this.seen = [view.element, strip.box];
        setTimeout(() => this.reveal(), PATIENCE_MS);
    },

    /** The page's own strip is there: it gets the text, without a word to the server. */
    adopt(stage) {
        if (!this.example || this.text || stage.tab !== "generate" || stage.text) return;
        const { strip } = stage.triggers;
        stage.triggers.strip = () => {};
        stage.strip.feed(this.example.lines);
        stage.triggers.strip = strip;
        this.text = stage.text;
        this.look = { ...stage.look };
    },

    /** What was drawn of it, for a view that is to show just that. */
    answer(view) {
        const { stage } = view;
        if (!this.text || stage.text !== this.text || view.name !== this.example.view) return undefined;
        const same = (use) => this.look[use] === undefined || this.look[use] === stage.look[use];
        return view.uses.every(same) ? this.fitting(view) : undefined;
    },

    /** The widest that has room. */
    fitting(view) {
        const { answers } = this.example;
        return (answers.findLast(([width]) => width <= view.width()) ?? answers[0])[1];
    },

    /** The page's own view shows it: once all is where it was seen, or stays, that takes over. */
    shown(view) {
        if (!this.seen || this.watching) return;
        this.watching = true;
        let [before, still] = ["", 0];
        const look = () => {
            if (!this.seen) return;
            const [now, seen] = [[view.element, view.stage.strip.box], this.seen].map(this.places);
            const arrived = now.every((value, n) => Math.abs(value - seen[n]) < 2);
            still = now.join() === before && document.fonts.status === "loaded" ? still + 1 : 0;
            before = now.join();
            if (still > (arrived ? 1 : STILL_FRAMES)) this.reveal();
            else requestAnimationFrame(look);
        };
        look();
    },

    places(elements) {
        const boxes = elements.map((element) => element.getBoundingClientRect());
        return boxes.flatMap(({ left, top, width, height }) => [left, top, width, height]);
    },

    reveal() {
        this.seen = null;
        document.documentElement.classList.remove("opening");
        document.getElementById("opening")?.remove();
    },
};

/** The example's prompt is there to be typed over: the first click into it selects it whole. */
document.addEventListener("click", ({ target }) => {
    const { text, offered } = gpt2.opening;
    if (offered || !text || !target.matches("#prompt textarea")) return;
    gpt2.opening.offered = true;
    if (target.value === text.prompt && target.selectionStart === target.selectionEnd) target.select();
});
