// Hands over the login token, which stands behind the `#` of this page's address, and goes on to the first page.
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (token) {
  const answer = await fetch("/enter", { method: "POST", body: token });
  if (answer.ok) location.replace("/");
  else document.getElementById("refused").hidden = false;
}
