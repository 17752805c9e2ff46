/* Heat maps for a mouse, a keyboard and a screen reader: over the picture lies a grid, of which one
 * cell is there at a time. Geometry and values come with the picture (gpt2/figures/base/cells.py).
 */
"use strict";

/** What a click or Enter on a cell does, by the picture's `picks`. */
const PICKS = {
    head: (stage, row, column) => {
        const kind = stage.look.kind === "rollout" ? "attention" : stage.look.kind; // a rollout has no head
        stage.set({ layer: row, head: column, kind });
    },
    token: (stage, row, column, cells) => stage.pick(cells.places[column]),
    row: (stage, row, column, cells) => stage.pick(cells.places[row]),
    window: (stage, row, column, cells) => {
        const field = document.querySelector(`#${stage.tab}-attention [data-window]`);
        const start = cells.places[row] - field.dataset.window / 2;
        stage.set({ start: Math.min(Math.max(0, Math.round(start)), Number(field.max)) });
    },
    part: (stage, row, column, cells) =>
        toggle(stage, column < cells.columns.length - 1 ? ["head", row, column] : ["mlp", row, 0]),
};

/** What of a picture is marked, beside the cell that is pointed at: [row, column, rows, columns]. */
const MARKS = {
    head: ({ layer, head }, cells) => [head < 0 ? [layer, 0, 1, cells.columns.length] : [layer, head, 1, 1]],
    token: ({ token }, cells) => [[0, cells.places.indexOf(token), cells.rows.length, 1]],
    row: ({ token }, cells) => {
        const row = cells.places.indexOf(token);
        return [[row, 0, 1, row + 1]];
    },
    part: ({ parts }, cells) =>
        parts.map(([kind, layer, head]) => {
            const last = cells.columns.length - 1;
            if (kind === "layer") return [layer, 0, 1, last + 1];
            return [layer, kind === "mlp" ? last : head, 1, 1];
        }),
};

/** Switch a part of the model to the strength that is set, or back: parts in look.parts. */
function toggle(stage, part) {
    const scale = stage.look.strength ?? 0;
    const same = (other) => part.every((value, n) => value === other[n]);
    const before = stage.look.parts.find(same);
    const parts = stage.look.parts.filter((other) => !same(other));
    if (scale !== 1 && before?.[3] !== scale) parts.push([...part, scale]);
    stage.set({ parts });
}
document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-part]");
    const stage = button && gpt2.open_stage();
    if (!stage) return;
    if (button.dataset.part === "layer") toggle(stage, ["layer", stage.look.layer, 0]);
    else stage.set({ parts: [] });
});

gpt2.cells = {
    /** Move the marks to what the look says now. */
    mark(stage, slots) {
        for (const slot of slots) slot.gpt2_mark?.();
    },

    lay(stage, slot, cells) {
        slot.gpt2_mark = null;
        const frame = slot.querySelector(".drawn-picture");
        if (!cells || !frame) return;
        const svg = frame.querySelector("svg");
        const [width, height] = [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height];
        const rows = cells.rows.length;
        const columns = cells.columns.length;
        const grid = document.createElement("div");
        grid.className = "cells";
        grid.setAttribute("role", "grid");
        grid.setAttribute("aria-label", svg.getAttribute("aria-label") || "cells");
        grid.setAttribute("aria-rowcount", rows);
        grid.setAttribute("aria-colcount", columns);
        grid.innerHTML = '<div role="row"><div role="gridcell" tabindex="0"></div></div>';
        const [row_element, cell] = [grid.firstChild, grid.firstChild.firstChild];
        frame.append(grid);
        const marked = MARKS[cells.picks]?.(stage.look, cells)[0];
        const begins = marked && marked[0] >= 0 && marked[1] >= 0 ? marked : [rows - 1, 0];
        let at = (slot.gpt2_focused && slot.gpt2_at) || begins;
        at = [Math.min(at[0], rows - 1), Math.min(at[1], columns - 1)];

        const put = (element, row, column, down = 1, across = 1) => {
            const { style } = element;
            style.left = `${(100 * (cells.left + column * cells.across)) / width}%`;
            style.top = `${(100 * (cells.top + row * cells.down)) / height}%`;
            style.width = `${(100 * (across * cells.across - cells.gap)) / width}%`;
            style.height = `${(100 * (down * cells.down - cells.gap)) / height}%`;
        };
        slot.gpt2_mark = () => {
            for (const old of grid.querySelectorAll(".marked")) old.remove();
            for (const [row, column, ...size] of MARKS[cells.picks]?.(stage.look, cells) ?? []) {
                if (!(row >= 0 && row < rows && column >= 0 && column < columns)) continue;
                const mark = document.createElement("i");
                mark.className = `marked ${cells.picks}`;
                put(mark, row, column, ...size);
                grid.append(mark);
            }
        };
        slot.gpt2_mark();
        const go = (row, column, focus) => {
            at = slot.gpt2_at = [row, column];
            put(cell, row, column);
            row_element.setAttribute("aria-rowindex", row + 1);
            cell.setAttribute("aria-colindex", column + 1);
            const value = cells.values[row][column];
            const said = value
                ? cells.said.replace(/\{(row|column|value)\}/g, (_, name) =>
                      ({ row: cells.rows[row], column: cells.columns[column], value })[name])
                : `nothing here: ${cells.rows[row]}, ${cells.columns[column]}`;
            cell.setAttribute("aria-label", said);
            cell.title = said;
            if (focus) cell.focus({ preventScroll: true });
        };
        const under = (event) => {
            const seen = svg.getBoundingClientRect();
            const x = ((event.clientX - seen.left) * width) / seen.width;
            const y = ((event.clientY - seen.top) * height) / seen.height;
            const row = Math.floor((y - cells.top) / cells.down);
            const column = Math.floor((x - cells.left) / cells.across);
            return row >= 0 && row < rows && column >= 0 && column < columns ? [row, column] : null;
        };
        const pick = (row, column) => {
            if (cells.picks && cells.values[row][column]) PICKS[cells.picks](stage, row, column, cells);
        };
        frame.classList.toggle("picks", Boolean(cells.picks));
        frame.addEventListener("mousemove", (event) => {
            const place = under(event);
            if (place && (place[0] !== at[0] || place[1] !== at[1])) go(...place, false);
            grid.classList.toggle("over", Boolean(place));
        });
        frame.addEventListener("mouseleave", () => grid.classList.remove("over"));
        frame.addEventListener("click", (event) => {
            const place = under(event);
            if (!place) return;
            go(...place, true);
            pick(...place);
        });
        grid.addEventListener("keydown", (event) => {
            const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
                Home: [0, -columns], End: [0, columns], PageUp: [-rows, 0], PageDown: [rows, 0] }[event.key];
            if (event.key === "Enter" || event.key === " ") {
                event.preventDefault();
                pick(...at);
            } else if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
                event.preventDefault();
                event.stopPropagation();
                const inside = (value, most) => Math.min(Math.max(0, value), most - 1);
                go(inside(at[0] + step[0], rows), inside(at[1] + step[1], columns), true);
            }
        });
        go(...at, slot.gpt2_focused);
        cell.addEventListener("focus", () => { slot.gpt2_focused = true; });
        cell.addEventListener("blur", (event) => { slot.gpt2_focused = event.relatedTarget === null && !event.isTrusted; });
    },
};
