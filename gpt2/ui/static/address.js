/* The address holds the present view: #v=1.<tab>.<data>.<proof>.<check>, see gpt2/ui/link.py, which
 * reads it. What stays in this browser tab beside it: what was typed and not sent, and a text that
 * is too long for an address.
 */
"use strict";

const LONGEST_ADDRESS = 2000; // characters, all in all
const SETTLE_MS = 200; // after the last step of the visitor
const LONG_TEXTS = 6; // that are kept
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LINK_SETTINGS = [
    "max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed",
];

/** What this browser tab keeps over a reload; in a frame it may be forbidden. */
gpt2.kept = {
    read(name) {
        try {
            return JSON.parse(sessionStorage.getItem(`gpt2.${name}`));
        } catch {
            return null;
        }
    },
    write(name, value) {
        try {
            sessionStorage.setItem(`gpt2.${name}`, JSON.stringify(value));
        } catch { /* forbidden or full: then it is not kept */ }
    },
};

gpt2.address = {
    touched: false, // whether the visitor has done anything yet
    opening: null, // the stage that a link's text is on its way to
    entry: "", // the text that the present entry of the history is of
    stands: {}, // by tab: the link of what stands there
    known: location.hash, // as it was last seen here
    same: false, // whether the page was loaded anew, its address as it was
    turn: 0,

    /** Something about a stage changed; the address follows. */
    changed() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.write(), SETTLE_MS);
    },

    async write() {
        const stage = gpt2.open_stage();
        const arriving = stage && this.opening === stage;
        if (!stage || (!this.touched && !arriving)) return;
        if (arriving) {
            if (stage.writing) return; // its address stands there already
            this.opening = null;
            if (!stage.text) return; // refused; the link stays to be read
        }
        const { tab, text } = stage;
        const turn = ++this.turn;
        let link = text ? await packed_link(state_of(stage)) : `#v=1.${tab}`;
        if (text && !this.fits(link)) { // a text pasted into a view stays behind first
            const bare = await packed_link(state_of({ ...stage, look: without(stage.look, OWN_TEXTS) }));
            if (this.fits(bare)) link = bare;
        }
        if (turn !== this.turn) return;
        this.stands[tab] = link;
        gpt2.kept.write(`stands.${tab}`, link);
        const entry = `${tab} ${text?.number ?? ""}`;
        const begins = this.entry && this.entry !== entry && !arriving;
        this.entry = text ? entry : ""; // an empty tab is no step of its own
        const short = this.short(link);
        this.put(short, begins);
        if (text) gpt2.copy.tell(stage, short !== link);
    },

    fits(link) {
        return location.href.length - location.hash.length + link.length <= LONGEST_ADDRESS;
    },

    /** A link as an address can hold it. */
    short(link) {
        if (this.fits(link)) return link;
        const name = `${link.split(".", 2).join(".")}.long`;
        const short = `${name}.${check_digits(name + link)}`;
        const long = (gpt2.kept.read("long") ?? []).filter((other) => other[0] !== short);
        gpt2.kept.write("long", [...long, [short, link]].slice(-LONG_TEXTS));
        return short;
    },

    put(hash, begins) {
        if (hash !== location.hash) {
            if (begins) history.pushState(null, "", hash);
            else history.replaceState(history.state, "", hash);
        }
        this.known = location.hash;
        gpt2.kept.write("at", this.known);
    },

    /** The link in the address is what the page is to show. */
    open() {
        if (location.hash === this.known) return;
        this.known = location.hash;
        this.entry = ""; // the browser has chosen the entry
        gpt2.kept.write("at", this.known);
        const stage = gpt2.stages[this.tab()] ?? gpt2.stages.generate;
        gpt2.open_tab(this.tab());
        if (stage?.strip) this.ask(stage, this.known);
    },

    /** The tab that the address names. */
    tab() {
        return this.known.startsWith("#v=") ? this.known.split(".")[1] ?? "" : "";
    },

    /** A stage has its place on the page; what is it to show? */
    ready(stage) {
        setTimeout(() => {
            if (stage.wish || stage.writing) return; // it knows
            const first = !Object.values(gpt2.stages).some((other) => other !== stage && other.strip);
            if (first) gpt2.open_tab(this.tab());
            const mine = this.tab() === stage.tab || (first && this.tab() && !gpt2.tab_button(this.tab()));
            const link = mine ? this.known : this.same && gpt2.kept.read(`stands.${stage.tab}`);
            stage.draft = this.same ? gpt2.drafts.read(stage.tab) : null;
            if (link && link.split(".").length > 2) this.ask(stage, link);
            else if (stage.draft) stage.triggers.strip("fill");
        });
    },

    ask(stage, link) {
        if (!link.startsWith("#v=") || link.split(".").length < 3) return;
        if (stage.text && this.short(this.stands[stage.tab] ?? "") === link) return this.changed();
        this.opening = stage;
        this.entry = link; // until its text stands
        const long = (gpt2.kept.read("long") ?? []).find((other) => other[0] === link);
        stage.want({ link: long?.[1] ?? link, fill: true });
    },

    begin() {
        document.documentElement.classList.toggle("linked", this.known.startsWith("#v="));
        this.same = (gpt2.kept.read("at") ?? "") === this.known;
        gpt2.kept.write("at", this.known);
        for (const event of ["popstate", "hashchange"]) addEventListener(event, () => this.open());
        for (const event of ["pointerdown", "keydown", "input"]) {
            addEventListener(event, () => { this.touched = true; }, { capture: true, passive: true });
        }
        addEventListener("click", (event) => {
            if (event.target.closest?.("[role=tab]:not([data-view])")) this.changed();
        });
        // Gradio's panels replace the address by one without a hash.
        const replace = history.replaceState.bind(history);
        history.replaceState = (state, title, url) => {
            const bare = url !== undefined && url !== null && !String(url).includes("#");
            replace(state, title, bare && location.hash ? `${url}${location.hash}` : url);
        };
    },
};

/** What was typed and not sent. */
gpt2.drafts = {
    keep(tab, names, values) {
        if (!gpt2.address.touched) return;
        clearTimeout(this.timer);
        this.waiting = [`draft.${tab}`, Object.fromEntries(names.map((name, n) => [name, values[n]]))];
        this.timer = setTimeout(() => this.flush(), SETTLE_MS);
    },
    flush() {
        if (this.waiting) gpt2.kept.write(...this.waiting);
        this.waiting = null;
    },
    read(tab) {
        return gpt2.kept.read(`draft.${tab}`);
    },
};
addEventListener("pagehide", () => gpt2.drafts.flush());

function without(record, names) {
    return Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)));
}

/** What a link says of a stage. */
function state_of({ tab, text, look }) {
    const { version, weights, dtype, device, model, prompt, settings, chosen } = text;
    const data = { a: [weights, dtype, device, version], m: model, p: prompt };
    if (tab === "generate") {
        data.s = LINK_SETTINGS.map((name) => settings[name]);
        data.x = settings.stop;
        data.c = chosen.flat();
    }
    return { tab, data: { ...data, l: look }, proof: text.proof ?? "" };
}

/** Its fragment of an address. */
async function packed_link({ tab, data, proof }) {
    const bytes = new TextEncoder().encode(JSON.stringify(data));
    const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    const packed = new Uint8Array(await new Response(stream).arrayBuffer());
    const body = `v=1.${tab}.${base64url(packed)}.${proof}`;
    return `#${body}.${check_digits(body)}`;
}

function base64url(bytes) {
    const letters = [];
    for (let n = 0; n < bytes.length; n += 3) {
        const three = (bytes[n] << 16) | ((bytes[n + 1] ?? 0) << 8) | (bytes[n + 2] ?? 0);
        const count = Math.min(4, bytes.length - n + 1);
        for (let place = 0; place < count; place++) letters.push(BASE64URL[(three >> (18 - 6 * place)) & 63]);
    }
    return letters.join("");
}

/** CRC-32 in six digits. */
function check_digits(text) {
    let state = ~0;
    for (const byte of new TextEncoder().encode(text)) {
        state ^= byte;
        for (let bit = 0; bit < 8; bit++) state = (state >>> 1) ^ (state & 1 ? 0xedb88320 : 0);
    }
    const value = ~state >>> 0;
    return [0, 6, 12, 18, 24, 30].map((shift) => BASE64URL[(value >>> shift) & 63]).join("");
}

gpt2.address.begin();
