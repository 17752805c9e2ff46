/* Heat maps for a mouse, a keyboard and a screen reader: over the picture lies a grid, of which one
 * cell is there at a time. Geometry and values come with the picture (gpt2/figures/base/cells.py).
 */
"use strict";

/** What a click or Enter on a cell does, by the picture's `picks`. */
const PICKS = {
    head: (stage, row, column) => stage.set({ layer: row, head: column }),
    token: (stage, row, column, cells) => stage.pick(cells.places?.[column] ?? column),
};

gpt2.cells = {
    lay(stage, slot, cells) {
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
        let at = slot.gpt2_at ?? cells.at ?? [rows - 1, 0];
        at = [Math.min(at[0], rows - 1), Math.min(at[1], columns - 1)];

        const go = (row, column, focus) => {
            at = slot.gpt2_at = [row, column];
            const box = {
                left: cells.left + column * cells.across,
                top: cells.top + row * cells.down,
                width: cells.across - cells.gap,
                height: cells.down - cells.gap - cells.head,
            };
            cell.style.left = `${(100 * box.left) / width}%`;
            cell.style.top = `${(100 * box.top) / height}%`;
            cell.style.width = `${(100 * box.width) / width}%`;
            cell.style.height = `${(100 * box.height) / height}%`;
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
            const row = Math.floor((y - cells.top + cells.head) / cells.down);
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
