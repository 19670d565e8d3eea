// A service that `heddle run` starts. It calls others as every Node can: through the proxy that it is told.
import http from "node:http";

const name = process.argv[2];
const proxy = new URL(process.env.HEDDLE_OUTBOUND);

http
  .createServer((request, response) => {
    const [, kind, callee] = request.url.split("/");
    if (kind !== "call") {
      response.end(`${name}${request.url}`);
      return;
    }
    http.get(
      { host: proxy.hostname, port: proxy.port, path: "/from-node", headers: { host: callee } },
      (answer) => answer.pipe(response),
    );
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
