/* Presets: one click writes or reads a text and shows what there is to see in it. */
"use strict";

gpt2.presets = {
    /** Called by the row of them once it is on the page. */
    bind(element, tab = "generate") {
        const stage = gpt2.stage(tab);
        gpt2.rove(element, ".chips button");
        element.addEventListener("click", (event) => {
            const chip = event.target.closest("[data-preset]");
            if (chip) this.run(chip.dataset);
        });
        stage.controls.push(() => {
            this.mark(element, stage.text);
            for (const chip of element.querySelectorAll("[data-preset]")) chip.ariaDisabled = String(stage.writing);
        });
        stage.follow();
    },

    run({ preset, tab, view }) {
        const stage = gpt2.stage(tab);
        gpt2.open_tab(tab);
        if (stage.writing) return;
        stage.look.view = view; // by the row of views too, if it is not on the page yet
        if (document.getElementById(`${tab}-inspector`)) stage.show(view);
        stage.want({ preset, model: stage.text?.model ?? "", fill: true });
    },

    /** Which preset stands. */
    mark(element, text) {
        const [name] = text?.preset ?? [""];
        for (const chip of element.querySelectorAll("[data-preset]")) {
            if (chip.dataset.preset === name) chip.setAttribute("aria-current", "true");
            else chip.removeAttribute("aria-current");
        }
    },
};
