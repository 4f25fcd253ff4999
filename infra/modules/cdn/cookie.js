// The access token lies in a cookie that no script of a page can read; API Gateway looks for it in Authorization.
function handler(event) {
  var request = event.request;
  var cookie = request.cookies["__Host-radloop-access"];
  if (cookie && cookie.value && !request.headers.authorization) {
    request.headers.authorization = { value: "Bearer " + cookie.value };
  }
  return request;
}
