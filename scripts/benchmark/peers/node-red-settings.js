module.exports = {
    flowFile: "node-red.json",
    uiHost: "127.0.0.1",
    uiPort: {free_port},
    httpAdminRoot: false,
    httpNodeRoot: false,
    telemetry: {enabled: false},
    logging: {console: {level: "info", metrics: false, audit: false}},
};
