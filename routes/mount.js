'use strict';

const { invalid, kindOf } = require('../plain.js');
const { accessOf } = require('./access.js');
const answers = require('./answer.js');
const { EventStream } = require('./stream.js');
const { Metrics } = require('./metrics.js');
const { page } = require('./page.js');

const { BadRequest, bodyOf, content, failure, flag, json, refusal, tableName, tableNames } = answers;

/** Apps that have the routes of a plugin: a second time Hono would call the first one's. */
const mounted = new WeakMap();

/** What tells of a plugin: once for all apps, for it listens as long as the plugin is there. */
const tellers = new WeakMap();

function tellersOf(plugin) {
  const there = tellers.get(plugin) ?? { stream: new EventStream(plugin), metrics: new Metrics(plugin) };
  tellers.set(plugin, there);
  return there;
}

/** Whether `app` takes routes as Hono does. */
const takesRoutes = (app) => typeof app?.get === 'function' && typeof app?.post === 'function';

/** Puts the routes of `plugin` on a Hono app, below the plugin's `pathPrefix`. */
function mount(plugin, app, options, entry) {
  const wishes = checked(options, entry);
  const access = accessOf(wishes, entry);
  const there = mounted.get(app) ?? new Set();
  if (there.has(plugin)) return;
  mounted.set(app, there.add(plugin));
  const { stream, metrics } = tellersOf(plugin);
  const at = (path) => `${plugin.pathPrefix}${path}`;
  const guarded = (work) => async (c) => {
    try {
      return (await access(c)) ?? (await work(c.req));
    } catch (error) {
      return error instanceof BadRequest ? refusal(error.status, 'BAD_REQUEST', error.message) : failure(error);
    }
  };

  // It holds nothing that is secret; what it shows comes from the other routes.
  app.get(at(''), () => page());
  app.get(
    at('/status'),
    guarded(async () => json(await plugin.getSyncStatus())),
  );
  app.get(
    at('/events'),
    guarded(async ({ raw }) => stream.open(raw)),
  );
  app.get(
    at('/metrics'),
    guarded(async () => content(await metrics.text(), 'text/plain; version=0.0.4; charset=utf-8')),
  );
  app.post(
    at('/sync'),
    guarded(async (request) => {
      const { tables, dryRun } = await bodyOf(request, { tables: tableNames, dryRun: flag });
      const run = plugin.triggerSync(tables, { dryRun: dryRun ?? false });
      if (new URL(request.url).searchParams.get('wait') !== 'false') return json(await run);
      // How it ends is told by the events.
      run.catch(() => {});
      return json({ accepted: true }, 202);
    }),
  );
  app.post(
    at('/verify'),
    guarded(async (request) => {
      const { tables, repair } = await bodyOf(request, { tables: tableNames, repair: flag });
      return json(await plugin.verify(tables, { repair: repair ?? false, signal: request.raw.signal }));
    }),
  );
  app.post(
    at('/reset'),
    guarded(async (request) => {
      const { table } = await bodyOf(request, { table: tableName });
      await plugin.resetSyncState(table);
      return json({ reset: table ?? null });
    }),
  );
}

function checked(options, entry) {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw invalid(TypeError, `Argument 'options' is ${kindOf(options)}; it takes { token, authorize }`, entry);
  }
  const unknown = Object.keys(options).find((name) => name !== 'token' && name !== 'authorize');
  if (unknown !== undefined) {
    throw invalid(TypeError, `Unknown option '${unknown}'; register takes { token, authorize }`, entry);
  }
  return options;
}

module.exports = { mount, takesRoutes };
