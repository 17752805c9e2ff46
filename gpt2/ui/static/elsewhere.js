// In a <gradio-app> of another site there are none of this page's scripts: it is shown in a frame.
if (typeof gpt2 === "undefined") {
    const app = element.closest("gradio-app"), space = app.getAttribute("space");
    const frame = document.createElement("iframe");
    frame.src = app.getAttribute("src") ??
        "https://" + space.toLowerCase().replace(/[^a-z0-9]+/g, "-") + ".hf.space";
    frame.title = "GPT-2, from scratch";
    frame.allow = "clipboard-write";
    frame.style = "width: 100%; height: 900px; border: 0";
    app.replaceWith(frame);
}
