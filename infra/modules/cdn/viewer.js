// The viewer is one page below /app/; a folder is its index.html.
function handler(event) {
  var request = event.request;
  if (request.uri === "/" || request.uri === "/app") {
    return { statusCode: 308, statusDescription: "Permanent Redirect", headers: { location: { value: "/app/" } } };
  }
  if (request.uri.endsWith("/")) {
    request.uri += "index.html";
  }
  return request;
}
