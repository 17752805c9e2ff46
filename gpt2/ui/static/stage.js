/* The page's record, one a tab: the text that stands, and how it is looked at.
 *
 * The mark in the text, the pictures and the address all derive from it; nothing of a visitor is
 * kept on the server. Python draws (gpt2/ui/view.py); what it sends carries the key of what it is
 * about, so that an answer that comes late is never shown beside another token.
 */
"use strict";

const KEPT_ANSWERS = 40; // of each view
const RESIZED_MS = 150;
const AHEAD_MS = 120; // after the last step of the visitor
const OWN_TEXTS = ["scored", "many"]; // long ones, which are sent for their own view alone
const AHEAD_MOST_MS = 800; // what takes longer is not drawn before it is asked for

class Stage {
    constructor(tab) {
        this.tab = tab;
        this.text = null; // what strip.js made of the lines of a text
        this.writing = false;
        this.look = { view: "", token: null, parts: [] };
        this.views = new Map();
        this.controls = []; // functions that show what `look` holds
        this.triggers = {};
        this.first = tab === "generate" ? 1 : 0; // nothing predicted a text's first token
    }

    /** Change how the text is looked at; everything follows. */
    set(changes) {
        Object.assign(this.look, changes);
        this.follow();
    }

    follow() {
        if (this.strip) this.strip.mark(this.look.token);
        for (const show of this.controls) show(this.look, this.text);
        for (const view of this.views.values()) if (view.open()) view.follow();
        gpt2.address.changed(this);
    }

    /** Select the token at a place, or `by` places on. */
    pick(place) {
        if (!this.text || this.writing) return;
        const last = this.text.ids.length - 1;
        this.look.token = Math.min(Math.max(this.first, place), last);
        this.move_window();
        this.follow();
    }

    /** Of a long text a map of attention holds a part: that with the selected token. */
    move_window() {
        const field = document.querySelector(`#${this.tab}-attention [data-window]`);
        const room = Number(field?.dataset.window);
        const { token, start = 0 } = this.look;
        if (!room) return;
        const inside = start <= token && token < start + room;
        const most = Math.max(0, this.text.ids.length - room);
        this.look.start = Math.min(inside ? start : Math.max(0, token - room / 2), most);
    }

    show(name) {
        const inspector = document.getElementById(`${this.tab}-inspector`);
        inspector.dataset.view = name;
        for (const tab of inspector.querySelectorAll("[role=tab]")) {
            const here = tab.dataset.view === name;
            tab.setAttribute("aria-selected", String(here));
            tab.tabIndex = here ? 0 : -1;
            if (here) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.clientWidth / 3;
        }
        this.set({ view: name });
    }

    /** A text begins to be written, or another one stands there. */
    begin() {
        if (this.model !== undefined && this.model !== this.text.model) this.look.parts = [];
        this.model = this.text.model;
        this.writing = true;
        this.look.token = null;
        this.follow();
    }

    stand(text, token) {
        this.text = text;
        this.writing = false;
        this.look.token = token;
        const most = { layer: text.layers - 1, head: text.heads - 1 };
        for (const name in most) { // once their controls have said where they begin
            if (this.look[name] > most[name]) this.look[name] = most[name];
        }
        this.move_window();
        this.follow();
    }

    /** Have a text written that the form does not hold: {model, prompt, settings, chosen ...}, or
     *  {link}; with `fill` the form comes to hold it. */
    want(wanted) {
        this.wish = wanted;
        this.writing = true;
        this.follow();
        this.triggers.strip?.("wanted"); // else once the strip is on the page
    }

    /** An event that was to write ended; without an end of the text nothing more comes. */
    settle() {
        if (this.writing) this.strip.refuse("The server did not answer; try again in a moment.");
    }

    wanted() {
        return { ...this.asked(), wanted: this.wish };
    }

    /** The values of the form's fields, as the text has them, or as they were typed and not sent. */
    form(names) {
        const { prompt, model, settings } = this.text ?? {};
        const known = { randomize: false, ...settings, prompt, model, ...this.draft };
        if (names.includes("prompt")) this.draft = null; // once
        return names.map((name) => known[name]);
    }

    /** What the server is asked about: see gpt2/ui/record.py. */
    asked(more = {}, look = this.look) {
        const { key = "", width = 0, ...own } = more;
        const sent = { ...look, ...Object.fromEntries(OWN_TEXTS.map((name) => [name, ""])), ...own, width };
        return { key, tab: this.tab, text: this.text?.sent(), look: sent, moment: ++gpt2.moments };
    }
}

/** One view of the inspector: what the server drew for it, and when it is to draw. */
class View {
    constructor(stage, name) {
        this.stage = stage;
        this.name = name;
        this.pinned = false; // beside the text, whichever view is open
        this.uses = []; // which parts of the look it depends on
        this.slots = []; // elements
        this.answers = new Map(); // what came, by key
        this.apart = {}; // slots that depend on less, and on which parts of the look
        this.extras = {}; // slots that events fill, by event
        this.pieces = new Map(); // what slots of both kinds hold, by slot_key
        this.told = null; // where it is said why nothing is drawn
        this.trigger = () => {};
        this.tries = 0;
        this.ahead = null;
    }

    width() {
        return Math.round(this.element?.clientWidth || 0);
    }

    open() {
        return this.pinned || this.stage.look.view === this.name;
    }

    resized() {
        clearTimeout(this.resizing);
        const key = this.key();
        if (key === this.followed) return;
        this.resizing = setTimeout(() => this.open() && this.width() && this.follow(), RESIZED_MS);
    }

    /** What the picture is about; two looks with the same key have the same picture. */
    key(look = this.stage.look) {
        const used = this.uses.map((use) => short(look[use] ?? null));
        return JSON.stringify([this.stage.text?.number ?? 0, Math.round(this.width() / 20), ...used]);
    }

    /** The same for a slot that depends on less than its view; what an event filled, on no width. */
    slot_key(name, key = this.key()) {
        const [number, width, ...used] = JSON.parse(key);
        const own = this.apart[name].map((use) => used[this.uses.indexOf(use)]);
        const wide = Object.values(this.extras).includes(name) ? 0 : width;
        return JSON.stringify([name, number, wide, ...own]);
    }

    /** Keep what came for such a slot, for as long as any answer that goes with it. */
    keep(key, piece) {
        if (!piece) return;
        this.pieces.delete(key);
        this.pieces.set(key, piece);
        const most = KEPT_ANSWERS * Object.keys(this.apart).length;
        if (this.pieces.size > most) this.pieces.delete(this.pieces.keys().next().value);
    }

    /** What there is for a slot. */
    piece(name, answer) {
        const apart = this.apart[name] && this.pieces.get(this.slot_key(name));
        return answer?.slots?.[name] ?? apart ?? { html: "", cells: null };
    }

    /** Whether a slot that depends on less has all that it needs. */
    has(name, key = this.key()) {
        return Boolean(this.apart[name] && this.pieces.get(this.slot_key(name, key))?.done);
    }

    /** Show what is known; ask for what is not. */
    follow() {
        clearTimeout(this.timer);
        const key = this.key();
        if (key !== this.followed && this.answers.get(key)?.refused) this.answers.delete(key); // it may have passed
        this.followed = key;
        const { text, writing } = this.stage;
        const known = text && !writing && this.show();
        gpt2.cells.mark(this.stage, this.slots);
        this.say();
        this.dim(writing || (text && !known));
        if (!text && !writing) this.clear();
        if (!text || writing || !this.slots.length || !this.width()) return;
        if (known) {
            this.timer = setTimeout(() => this.look_ahead(), AHEAD_MS);
        } else {
            this.tries = 0;
            this.began = performance.now();
            this.trigger("draw");
        }
    }

    clear() {
        for (const slot of this.slots) {
            slot.gpt2_piece = null;
            slot.replaceChildren();
        }
    }

    /** The one place that says why a view is empty or old. */
    reason() {
        const { text, writing, empty } = this.stage;
        if (this.pinned && (writing || !text)) return ""; // said beside it
        if (writing) return `The text is being ${this.stage.tab === "generate" ? "written" : "read"}; its views follow.`;
        if (!text) return empty || "";
        return this.answers.get(this.key())?.refused || "";
    }

    say() {
        const words = this.reason();
        if (this.told && this.told.textContent !== words) this.told.textContent = words;
        if (!this.words) return;
        const [, view, sentence] = this.stage.text?.preset ?? [];
        this.words.textContent = view === this.name ? sentence : this.usual;
    }

    dim(on) {
        for (const slot of this.slots) {
            slot.classList.toggle("waiting", Boolean(on && (this.stage.writing || !this.has(slot.dataset.slot))));
            slot.inert = this.stage.writing; // what is there is of another text
        }
    }

    /** Show the answer for what is looked at; whether there is one. */
    show() {
        const opened = gpt2.opening.answer(this);
        const answer = this.answers.get(this.key()) ?? opened;
        const extras = Object.values(this.extras); // these do not wait for an answer
        for (const slot of this.slots) {
            const { slot: name } = slot.dataset;
            if (answer || extras.includes(name)) this.fill(slot, this.piece(name, answer));
        }
        if (answer && answer === opened) gpt2.opening.shown(this);
        return Boolean(answer);
    }

    fill(slot, piece) {
        if ((slot.gpt2_piece?.html ?? "") === piece.html) return;
        slot.gpt2_piece = piece;
        slot.innerHTML = piece.html; // escaped where it was made, in Python
        gpt2.cells.lay(this.stage, slot, piece.cells);
    }

    /** It is on the page. */
    place(element) {
        this.element = element;
        this.told = element.querySelector(".told");
        this.words = element.querySelector(".words"); // what it shows; of a preset, what to look for
        this.usual = this.words?.textContent;
        this.slots = [...element.querySelectorAll(".slot")];
    }

    /** What was drawn came; of another token it is kept for later. */
    receive(value) {
        if (!value) return;
        const answer = JSON.parse(value);
        if (answer.slot) {
            this.keep(answer.key, answer);
            if (this.stage.look.view === this.name) this.show();
            return;
        }
        for (const name in this.apart) {
            const key = this.slot_key(name, answer.key);
            const piece = answer.slots?.[name];
            this.keep(key, piece ? { ...piece, done: answer.done } : this.pieces.get(key));
            if (piece) delete answer.slots[name];
        }
        this.answers.delete(answer.key);
        this.answers.set(answer.key, answer);
        if (this.answers.size > KEPT_ANSWERS) this.answers.delete(this.answers.keys().next().value);
        if (answer.key !== this.key() || !this.open()) return;
        this.show();
        this.say();
        this.dim(false);
        clearTimeout(this.timer);
        if (answer.done) this.took = performance.now() - this.began;
        if (answer.done) this.timer = setTimeout(() => this.look_ahead(), AHEAD_MS);
    }

    /** An event of drawing ended; if its answer was lost, ask once more. */
    settle() {
        if (!this.open() || !this.stage.text || this.stage.writing) return;
        if (this.answers.has(this.key())) return;
        if (this.tries++ < 2) this.trigger("draw");
        else if (this.told) this.told.textContent = "This view could not be drawn; pick a token to try again.";
    }

    asked(look = this.stage.look) {
        const key = this.key(look);
        const kept = Object.keys(this.apart).filter((name) => this.has(name, key));
        const names = OWN_TEXTS.filter((name) => this.uses.includes(name));
        const own = Object.fromEntries(names.map((name) => [name, look[name] ?? ""]));
        return { ...this.stage.asked({ key, width: this.width(), ...own }, look), kept };
    }

    /** What an event is about that fills a slot. */
    asked_extra(event) {
        return { ...this.asked(), key: this.slot_key(this.extras[event]) };
    }

    /** Have the neighbours of the selected token drawn before they are asked for. */
    look_ahead() {
        const { text, writing, look } = this.stage;
        if (!this.open() || !this.uses.includes("token") || !text || writing || document.hidden) return;
        if (this.took > AHEAD_MOST_MS) return;
        for (const step of [1, -1]) {
            const other = { ...look, token: look.token + step };
            if (other.token < this.stage.first || other.token >= text.ids.length) continue;
            const key = this.key(other);
            if (this.answers.has(key) || this.ahead?.key === key) continue;
            this.ahead = { key, look: other };
            this.trigger("ahead");
            return;
        }
    }

    asked_ahead() {
        return this.asked(this.ahead.look);
    }
}

/** A value as part of a key: of a long text a few digits (FNV-1a, twice, with different primes). */
function short(value) {
    if (typeof value !== "string" || value.length < 100) return value;
    let [a, b] = [0x811c9dc5, 0x12345678];
    for (let n = 0; n < value.length; n++) {
        a = Math.imul(a ^ value.charCodeAt(n), 0x01000193);
        b = Math.imul(b ^ value.charCodeAt(n), 0x5bd1e995);
    }
    return `${value.length}:${a >>> 0}:${b >>> 0}`;
}

const gpt2 = {
    moments: 0,
    stages: {},

    stage(tab) {
        return (gpt2.stages[tab] ??= new Stage(tab));
    },

    view(tab, name) {
        const { views } = gpt2.stage(tab);
        if (!views.has(name)) views.set(name, new View(gpt2.stage(tab), name));
        return views.get(name);
    },

    /** Called by a view once it is on the page. */
    frame(element, trigger, watch, props, about) {
        const { tab, name, pinned } = about;
        const view = gpt2.view(tab, name);
        Object.assign(view, about, { trigger });
        view.place(element);
        if (!pinned) {
            element.setAttribute("role", "tabpanel");
            element.setAttribute("aria-labelledby", `${tab}-tab-${name}`);
        }
        watch("value", () => view.receive(props.value));
        element.addEventListener("click", (event) => {
            const asks = event.target.closest("button[data-event]");
            if (asks && view.stage.text && !view.stage.writing) trigger(asks.dataset.event);
        });
        new ResizeObserver(() => view.resized()).observe(element); // also when its tab is opened
        gpt2.controls.bind(view);
        gpt2.files.bind(view);
        view.stage.follow();
    },

    /** The row of tabs: one stop of the Tab key, arrow keys inside. */
    tabs(element, tab) {
        const stage = gpt2.stage(tab);
        const tabs = [...element.querySelectorAll("[role=tab]")];
        stage.tabs = tabs;
        element.addEventListener("click", (event) => {
            const chosen = event.target.closest("[role=tab]");
            if (chosen) stage.show(chosen.dataset.view);
        });
        element.addEventListener("keydown", (event) => {
            const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (!step) return;
            event.preventDefault();
            const at = tabs.findIndex((other) => other.dataset.view === stage.look.view);
            const next = tabs[(at + step + tabs.length) % tabs.length];
            stage.show(next.dataset.view);
            next.focus();
        });
        stage.show(stage.look.view || tabs[0].dataset.view);
    },
};

/** Pictures that were drawn before they are asked for. */
gpt2.ahead = {
    receive(value) {
        if (!value) return;
        const answer = JSON.parse(value);
        const view = gpt2.view(answer.tab, answer.view);
        view.ahead = null;
        view.receive(value);
    },
};

/** Files are made when asked for, one after the other. */
gpt2.files = {
    asked: [],
    busy: false,

    bind(view) {
        view.element.addEventListener("click", (event) => {
            const button = event.target.closest("button[data-save]");
            if (!button) return;
            const slot = button.closest(".slot").dataset.slot;
            gpt2.files.asked.push({ view, ask: { ...view.asked(), kept: [], file: button.dataset.save, slot } });
            gpt2.files.next();
        });
    },

    next() {
        if (this.busy || !this.asked.length) return;
        this.busy = true;
        this.asked[0].view.trigger("save");
    },

    wanted() {
        return this.asked[0].ask;
    },

    receive(value) {
        if (!value) return;
        const file = JSON.parse(value);
        if (file.refused) return this.asked[0]?.view.told.replaceChildren(file.refused);
        const link = document.createElement("a");
        link.href = file.url;
        link.download = file.name;
        link.click();
    },

    settle() {
        this.asked.shift();
        this.busy = false;
        this.next();
    },
};

/** Controls on the edge of a view show and change what the look holds. */
gpt2.controls = {
    bind(view) {
        const { stage, element } = view;
        for (const control of element.querySelectorAll("[data-look]")) {
            const name = control.dataset.look;
            if (stage.look[name] === undefined && (control.type !== "radio" || control.checked)) {
                stage.look[name] = this.value(control);
            }
            control.addEventListener("change", () => {
                if (control.value !== "" || control.type === "text") {
                    stage.set({ [name]: this.value(control) });
                } else this.show(control, stage); // an emptied number is what it was
            });
            stage.controls.push(() => this.show(control, stage));
        }
        element.addEventListener("submit", (event) => {
            if (!event.target.matches(".paste")) return;
            event.preventDefault();
            this.paste(view, event.target);
        });
        element.addEventListener("click", (event) => {
            const button = event.target.closest("button[data-step]");
            if (!button) return;
            const [name, by] = button.dataset.step.split(" ");
            if (name === "token") return stage.pick((stage.look.token ?? 0) + Number(by));
            const field = element.querySelector(`input[data-look="${name}"]`);
            const value = Number((Number(stage.look[name] ?? field.value) + Number(by)).toFixed(3));
            stage.set({ [name]: Math.min(Math.max(Number(field.min), value), Number(field.max)) });
        });
    },

    /** A text of one's own is handed over, if it is not too long to be sent. */
    paste(view, form) {
        const field = form.querySelector("textarea");
        const [length, limit] = [[...field.value].length, Number(form.dataset.limit)];
        if (length <= limit) return view.stage.set({ [field.name]: field.value });
        const [has, most] = [length, limit].map((count) => count.toLocaleString("en"));
        view.told.textContent = `the text has ${has} characters; the limit is ${most}; shorten it`;
    },

    value(control) {
        if (control.type !== "number") return control.value;
        const value = Number(control.value);
        return Math.min(Math.max(Number(control.min), value), Number(control.max));
    },

    show(control, { look, text }) {
        const name = control.dataset.look;
        const most = { layer: text?.layers, head: text?.heads }[name];
        if (most) control.max = most - 1;
        const { window } = control.dataset; // tokens that are shown from this one on
        if (window && text) {
            control.max = Math.max(0, text.ids.length - window);
            control.closest(".stepper").hidden = control.max === "0";
        }
        if (control.type === "radio") control.checked = control.value === look[name];
        else if (document.activeElement !== control || control.type === "number") {
            control.value = look[name] ?? "";
        }
    },
};
