/* Keys that work wherever nothing is typed: 1 to 9 open a view, the arrows walk the tokens. */
"use strict";

document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const { target } = event;
    if (target.closest?.("input, textarea, select, [contenteditable], [role=tab], [role=grid], [role=slider]")) return;
    const stage = gpt2.open_stage();
    if (!stage?.tabs) return;
    const number = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
    if (number && stage.tabs[number - 1]) {
        stage.show(stage.tabs[number - 1].dataset.view);
        event.preventDefault();
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && stage.text) {
        stage.pick((stage.look.token ?? 0) + step);
        event.preventDefault();
    }
});

/** The stage of the tab that is open. */
gpt2.open_stage = () =>
    Object.values(gpt2.stages).find((stage) => document.getElementById(`${stage.tab}-inspector`)?.offsetParent);
