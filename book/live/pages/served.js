// Without modules, because browsers load none from file: addresses.
if (location.protocol === "file:") {
  document.getElementById("loading").textContent =
    "Browsers run this page only from a server. In this folder: python -m http.server " +
    "--bind 127.0.0.1; then open http://localhost:8000/.";
}
