/* Taking a view or its text along: a link, the text, the same request in other languages. */
"use strict";

gpt2.copy = {
    bind(stage, element) {
        const row = element.querySelector(".copy");
        if (!row) return;
        const menu = row.querySelector("details");
        row.addEventListener("click", (event) => {
            const button = event.target.closest("button[data-copy]");
            if (!button) return;
            if (menu.open) {
                menu.open = false;
                menu.querySelector("summary").focus();
            }
            gpt2.copy.take(stage, row, button.dataset.copy);
        });
        row.addEventListener("keydown", (event) => {
            if (event.key === "Escape" && menu.open) {
                menu.open = false;
                menu.querySelector("summary").focus();
            }
        });
        stage.copy_row = row;
        stage.controls.push((look, text) => { row.hidden = !text || stage.writing; });
    },

    /** Of a text that no address holds it is said without being asked. */
    tell(stage, long) {
        const row = stage.copy_row;
        if (!row || row.dataset.long === String(long)) return;
        row.dataset.long = long;
        this.field(row, "");
        this.say(row, long ? too_long(stage.text) : "");
    },

    async take(stage, row, kind) {
        const made = await this.kinds[kind](stage, row.dataset.model);
        this.field(row, "");
        if (!made.text) return this.say(row, made.said);
        try {
            await navigator.clipboard.writeText(made.text);
            this.say(row, made.said);
        } catch { // no https, or a frame
            this.say(row, "This browser does not let the page copy; the text below is selected, copy it yourself.");
            this.field(row, made.text);
        }
    },

    say(row, words) {
        row.querySelector(".copied").textContent = words;
    },

    field(row, text) {
        const field = row.querySelector("textarea");
        field.hidden = !text;
        field.value = text;
        if (text) {
            field.focus();
            field.select();
        }
    },

    kinds: {
        async link(stage) {
            gpt2.address.touched = true;
            await gpt2.address.write();
            if (stage.copy_row.dataset.long === "true") return { said: too_long(stage.text) };
            return { text: location.href, said: "Link copied." };
        },
        text: ({ text }) => ({ text: text.prompt + (text.completion ?? ""), said: "Text copied." }),
        python: ({ text }, first) => ({ text: python(request_of(text)), said: `Python copied.${elsewhere(text, first)}` }),
        curl: ({ text }, first) => ({ text: curl(request_of(text)), said: `Shell commands copied.${elsewhere(text, first)}` }),
        mcp: ({ text }, first) => ({
            text: tool_call(request_of(text)),
            said: `MCP call copied, for a server that runs with --mcp.${elsewhere(text, first)}`,
        }),
    },
};

function too_long({ prompt }) {
    const length = [...prompt].length.toLocaleString("en");
    return `This text is too long for a link (its prompt has ${length} characters); Copy as takes all of it along.`;
}

/** The API writes with the page's first model. */
function elsewhere({ model }, first) {
    return first !== model ? ` It asks ${first}: the API does not take ${model}.` : "";
}

/** A text as a call of the API: of /branch where a token was chosen, else of /generate. */
function request_of({ labels, prompt, settings, chosen, ids }) {
    if (labels) return { name: "classify", values: { text: prompt } };
    const { max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop } = settings;
    const rest = { max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop };
    if (!chosen.length) return { name: "generate", values: { prompt, ...rest } };
    const [position, token] = chosen[chosen.length - 1];
    return { name: "branch", values: { prompt, ids: ids.slice(0, position + 1), position, token, ...rest } };
}

function server() {
    return (location.origin + location.pathname).replace(/\/$/, "");
}

/** JSON, which Python reads as its own; what can't be seen is written as a number. */
function quoted(value, space) {
    const unseen = /[\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
    const number = (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`;
    return JSON.stringify(value, null, space).replace(unseen, number);
}

function python({ name, values }) {
    const lines = Object.entries(values).map(([key, value]) => `    ${key}=${quoted(value)},`);
    const shown = name === "classify" ? "label" : "completion";
    return [
        "from gradio_client import Client",
        "",
        `client = Client(${quoted(server())})`,
        "answer = client.predict(",
        ...lines,
        `    api_name="/${name}",`,
        ")",
        `print(answer["${shown}"])`,
        "",
    ].join("\n");
}

function curl({ name, values }) {
    const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    return [
        `url=${shell(`${server()}/gradio_api/call`)}`,
        `id=$(curl -s "$url/v2/${name}" -H 'content-type: application/json' -d ${shell(quoted(values))} | cut -d '"' -f 4)`,
        `curl -sN "$url/${name}/$id"`,
        "",
    ].join("\n");
}

function tool_call({ name, values }) {
    const params = { name, arguments: values };
    return `${quoted({ jsonrpc: "2.0", id: 1, method: "tools/call", params }, 2)}\n`;
}
