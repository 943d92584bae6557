// A SCIM server in memory on SCIMMY, an application for each first part of the path: /APPLICATION/scim/Users.
// Arguments: the folder that has node_modules, the file to write the port into, the token that may do everything,
// and the password of the user "planner", who may as well.
//
// It is as careless as SCIM lets an application be: two groups may have one name, a member is stored as often as it
// is added, members need not exist, and one who is deleted stays a member.
import {createRequire} from "node:module";
import {renameSync, writeFileSync} from "node:fs";

const [folder, portFile, token, password] = process.argv.slice(2);
const require = createRequire(folder + "/package.json");
const express = require("express");
const {default: SCIMMYRouters, SCIMMY} = require("scimmy-routers");

const applications = new Map();
let ids = 0;

function application(name) {
    if (!applications.has(name)) applications.set(name, {users: new Map(), groups: new Map()});
    return applications.get(name);
}

function handlers(kind, unique) {
    const all = (ctx) => application(ctx.application)[kind];
    const missing = (id) => new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
    return {
        ingress: (resource, instance, ctx) => {
            const now = new Date();
            const rest = JSON.parse(JSON.stringify(instance));
            delete rest.schemas;
            delete rest.meta;
            if (resource.id && !all(ctx).has(resource.id)) throw missing(resource.id);
            if (unique) for (const [id, other] of all(ctx)) if (id !== resource.id && other[unique] === rest[unique])
                throw new SCIMMY.Types.Error(409, "uniqueness", `${unique} is taken`);
            const id = resource.id ?? String(++ids);
            const created = all(ctx).get(id)?.meta.created ?? now;
            all(ctx).set(id, {...rest, id, meta: {created, lastModified: now}});
            return structuredClone(all(ctx).get(id));
        },
        egress: (resource, ctx) => {
            if (resource.id) {
                if (!all(ctx).has(resource.id)) throw missing(resource.id);
                return structuredClone(all(ctx).get(resource.id));
            }
            const list = [...all(ctx).values()].map((r) => structuredClone(r));
            return resource.filter ? resource.filter.match(list) : list;
        },
        degress: (resource, ctx) => {
            if (!all(ctx).delete(resource.id)) throw missing(resource.id);
        },
    };
}

SCIMMY.Resources.declare(SCIMMY.Resources.User, handlers("users", "userName"));
SCIMMY.Resources.declare(SCIMMY.Resources.Group, handlers("groups"));

const app = express();
app.use("/:application/scim", new SCIMMYRouters({
    type: "bearer",
    handler: (request) => {
        const basic = "Basic " + Buffer.from("planner:" + password).toString("base64");
        if (![`Bearer ${token}`, basic].includes(request.header("Authorization"))) throw new Error("who are you?");
        return "countersign";
    },
    context: (request) => ({application: request.params.application}),
}));
const server = app.listen(0, "127.0.0.1", () => {
    writeFileSync(portFile + ".new", String(server.address().port));
    renameSync(portFile + ".new", portFile);
});
