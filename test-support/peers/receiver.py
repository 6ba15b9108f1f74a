"""A web server for the tests: it answers POSTs and records each as a line of JSON in a file.

receiver.py NOTES STATUSES PORT [CERT KEY [CA]]

Writes the requests to the file NOTES. Answers with the STATUSES (comma-separated) in turn, then with 200. `503+30` also
asks to be tried again after 30 seconds. Among the STATUSES may be what holds for all requests: `limit=BYTES` answers a
longer one with 413, `refuse=WORD` answers one that has the word with 400, `slow=SECONDS` waits before each answer,
`echo=HEADER` puts the value of that header into the answer. With
CERT and KEY it uses TLS. With a CA, clients must show a certificate that it has signed. Prints its port; with PORT 0 the kernel
chooses one.
"""

import gzip
import http.server
import json
import ssl
import sys
import time

notes, statuses, port, tls = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
words = [word for word in statuses.split(",") if word]
always = dict(word.split("=") for word in words if "=" in word)
statuses = [word.split("+") for word in words if "=" not in word]
connections = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        global connections
        connections += 1
        self.number = connections
        super().setup()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        note = {"connection": self.number, "path": self.path, "body": body.decode()}
        note["headers"] = {name.lower(): value for name, value in self.headers.items()}
        time.sleep(float(always.get("slow", 0)))
        status, *wait = statuses.pop(0) if statuses else ["200"]
        status = int(status)
        if len(body) > int(always.get("limit", len(body))):
            status = 413
        if "refuse" in always and always["refuse"].encode() in body:
            status = 400
        answer = (self.headers.get(always.get("echo", ""), "") + "noted\n").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if wait:
            self.send_header("Retry-After", wait[0])
        if status == 301:
            self.send_header("Location", "/elsewhere")
        note["status"] = status
        with open(notes, "a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def get_request(self):
        connection, address = self.socket.accept()
        if tls:
            connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address


if tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls[0], tls[1])
    if len(tls) > 2:
        context.load_verify_locations(tls[2])
        context.verify_mode = ssl.CERT_REQUIRED

server = Server(("127.0.0.1", port), Handler)
print(server.server_port, flush=True)
server.serve_forever()
