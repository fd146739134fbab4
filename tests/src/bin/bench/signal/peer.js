// npm's signaling server with its defaults, but for the number of clients and how long an idle one may stay.
const { PeerServer } = require(process.argv[2]);

const options = { host: "127.0.0.1", port: 0, concurrent_limit: 20000, alive_timeout: 600000 };
PeerServer(options, (server) => console.log(`listening on 127.0.0.1:${server.address().port}`));
