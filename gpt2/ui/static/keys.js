/* Keys that work wherever nothing is typed: 1 to 9 open a view, the arrows walk the tokens. */
"use strict";

document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const { target } = event;
    if (target.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]")) return;
    const stage = gpt2.open_stage();
    if (!stage?.tabs) return;
    const number = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
    if (number && stage.tabs[number - 1]) {
        stage.show(stage.tabs[number - 1].dataset.view);
        event.preventDefault();
    }
    const own = "input, [role=tab], [role=grid], [role=slider], .chips"; // have arrow keys of their own
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && stage.text && !target.closest?.(own)) {
        stage.pick((stage.look.token ?? 0) + step);
        event.preventDefault();
    }
});

/** The button of one of the page's tabs, by its title. */
gpt2.tab_button = (tab) => {
    const buttons = document.querySelectorAll("gradio-app [role=tablist] > [role=tab]:not([data-view])");
    return [...buttons].find((other) => other.textContent.trim().toLowerCase() === tab);
};

gpt2.open_tab = (tab) => {
    const button = gpt2.tab_button(tab);
    if (button?.getAttribute("aria-selected") === "false") button.click();
};

/** The stage of the tab that is open. */
gpt2.open_stage = () =>
    Object.values(gpt2.stages).find((stage) => document.getElementById(`${stage.tab}-inspector`)?.offsetParent);

/* A number field that is emptied is what it was: Gradio would take it for 0. */
const numbers = new WeakMap();
const is_number = (target) => target.matches?.("input[type=number]");
document.addEventListener("focusin", ({ target }) => is_number(target) && numbers.set(target, target.value), true);
document.addEventListener(
    "input",
    (event) => {
        if (!is_number(event.target)) return;
        if (event.target.value === "") event.stopImmediatePropagation();
        else numbers.set(event.target, event.target.value);
    },
    true,
);
document.addEventListener(
    "focusout",
    ({ target }) => {
        if (is_number(target) && target.value === "") target.value = numbers.get(target) ?? target.min;
    },
    true,
);

/** Of a row of buttons one is a stop of the Tab key; arrow keys walk along it. */
gpt2.rove = (row, selector) => {
    const all = [...row.querySelectorAll(selector)];
    const stop = (at) => all.forEach((button, n) => { button.tabIndex = n === at ? 0 : -1; });
    stop(0);
    row.addEventListener("focusin", ({ target }) => all.includes(target) && stop(all.indexOf(target)));
    row.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const at = all.indexOf(event.target);
        if (!step || at < 0) return;
        event.preventDefault();
        all[(at + step + all.length) % all.length].focus();
    });
};
