/** The page in Chromium; where there is none, it says so and tests nothing. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { App } from './support/app.js';
import { root } from './support/child.js';
import { Gate, onEveryServer, until } from './support/world.js';

const TOKEN = 'a-token-of-the-test';
/** Where pictures of the page go, when somebody wants to look at it. */
const PICTURES = process.env.DATA_SYNC_TEST_PICTURES;
const path = process.env.DATA_SYNC_TEST_CHROMIUM;

/** A browser that asks nobody but the page. */
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];

if (!path) {
  test('the page in a browser: NOT TRIED, there is no Chromium', () => {});
} else {
  onEveryServer((world) => {
    let browser: Browser;
    let app: App;
    let address: string;
    const problems: string[] = [];

    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: path, args: FLAGS });
    });
    afterAll(() => browser.close());
    beforeEach(() => {
      app = new App();
      problems.length = 0;
    });
    afterEach(async () => {
      // A page that is left open would go on asking, on the ports of other tests.
      await Promise.all(browser.contexts().map((context) => context.close()));
      await app.close();
    });

    async function open(options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
      const page = await (await browser.newContext(options)).newPage();
      page.on('pageerror', (error) => problems.push(error.message));
      page.on('console', (message) => {
        // The refusal by which the page learns that a token is needed is a line in the browser's own log.
        if (message.type() === 'error' && !/status of 40[13]/.test(message.text())) problems.push(message.text());
      });
      page.on('request', (request) => {
        if (!request.url().startsWith(address) && !request.url().startsWith('data:')) problems.push(request.url());
      });
      await page.goto(`${address}/data-sync`);
      return page;
    }

    async function enter(page: Page, token = TOKEN) {
      await page.getByLabel('Bearer token').fill(token);
      await page.getByRole('button', { name: 'Continue' }).click();
    }

    const picture = async (page: Page, name: string) => {
      if (!PICTURES) return;
      mkdirSync(join(root, PICTURES), { recursive: true });
      await page.screenshot({ path: join(root, PICTURES, `${name}.png`) });
    };

    test('shows tables live, in the dark too, and nothing of it without the token', async () => {
      const hostile = `<img src=x onerror="document.title='broken'">`;
      await world.items(3000, 'orders');
      await world.items(1200, 'customers');
      await world.query(`CREATE TABLE "${hostile.replaceAll('"', '""')}" (id int PRIMARY KEY, updated_at timestamptz)`);
      const { plugin } = world.sync({ sync_interval: 600, batch_size: 100 });
      await plugin.register(app.app, { token: TOKEN });
      address = await app.listen();
      const page = await open({ colorScheme: 'light' });
      await page.getByRole('dialog').waitFor();
      expect(await page.locator('#tables tr').count()).toBe(0);
      await enter(page, 'wrong');
      await page.getByText('That token was refused').waitFor();
      await enter(page);
      await page.getByRole('row', { name: 'orders' }).getByText('3,000').waitFor();
      await page.getByText('Idle').waitFor();
      expect(await page.locator('#tables .name').allTextContents()).toEqual([hostile, 'customers', 'orders']);
      expect(await page.title()).toBe('Data Sync');
      await world.query('UPDATE orders SET updated_at = now() WHERE id <= 7');
      await page.getByRole('button', { name: 'Sync now' }).click();
      await page.getByText('Synced: 0 rows new, 7 changed, 0 deleted').waitFor();
      await page.getByText('Synced 7 records for table orders').waitFor();
      await picture(page, 'page-light');

      await page.getByRole('button', { name: 'Reset orders' }).click();
      await page.getByRole('button', { name: 'Cancel' }).click();
      expect((await plugin.getSyncStatus()).tableMap.orders?.lastValue).not.toBeNull();
      await page.getByRole('button', { name: 'Reset orders' }).click();
      await page.getByRole('button', { name: 'Reset', exact: true }).click();
      await page.getByText('orders is read anew by the next run').waitFor();
      await page.getByRole('button', { name: 'Verify' }).click();
      await page.getByText('3 tables compared, no difference').waitFor();

      const dark = await open({ colorScheme: 'dark', viewport: { width: 420, height: 800 } });
      await enter(dark);
      await dark.getByRole('row', { name: 'customers' }).waitFor();
      const paper = await dark.evaluate('getComputedStyle(document.body).backgroundColor');
      expect(paper).toBe('rgb(18, 20, 23)');
      // Nothing but the table is wider than a phone.
      expect(await dark.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
      await picture(dark, 'page-phone');
      expect(problems).toEqual([]);
    });

    test('shows progress while it lasts, and what failed', async () => {
      await world.items(2000);
      const gate = await Gate.shut(world);
      const { plugin } = world.sync({
        sync_interval: 600,
        batch_size: 100,
        tables: [{ name: 'items', mode: 'full', where: Gate.filter('id > 1500') }],
      });
      await plugin.register(app.app, { authorize: () => true });
      address = await app.listen();
      await gate.reached();
      await until(async () => (await plugin.getSyncStatus()).tableMap.items !== undefined);
      const page = await open({ colorScheme: 'dark' });
      // It came too late for the run's beginning; the state says that the first load is not complete.
      await page.getByRole('row', { name: 'items' }).getByText('First load').waitFor();
      await page.getByText('Running').waitFor();
      await gate.open();
      await page.getByText('Idle').waitFor();
      const second = await Gate.shut(world);
      await page.getByRole('button', { name: 'Sync now' }).click();
      await second.reached();
      await page.getByRole('row', { name: 'items' }).getByRole('progressbar').waitFor();
      await picture(page, 'page-dark');
      await second.open();
      await page.getByText('Synced:').waitFor();
      // The last word of a comparison that another page asked for: nothing tells its end.
      // A look at the status that is on its way takes it for over, so it is said again until it is seen.
      await until(async () => {
        plugin.emit('progress', { table: 'items', phase: 'verify', rows: 1, estimatedRows: 2, rowsPerSecond: 1 });
        return page.getByRole('row', { name: 'items' }).getByText('Comparing').isVisible();
      });
      await page.getByText('Idle').waitFor();
      await world.query('ALTER TABLE items DROP COLUMN name; ALTER TABLE items RENAME TO gone');
      await page.getByRole('button', { name: 'Sync now' }).click();
      await page.getByText('The last run failed').waitFor();
      await page.getByRole('row', { name: 'items' }).getByText("Table 'items' not found").waitFor();
      // A failed call is a line in the browser's own log.
      expect(problems.filter((problem) => !/status of 404/.test(problem))).toEqual([]);
    });

    test('makes a broken connection anew', async () => {
      await world.items(10);
      const { plugin } = world.sync({ sync_interval: 600 });
      await plugin.register(app.app, { authorize: () => true });
      address = await app.listen();
      const page = await open();
      await page.getByText('Idle').waitFor();
      await page.context().setOffline(true);
      await page.evaluate('fetch("/data-sync/status").catch(() => {})');
      await page.context().setOffline(false);
      await until(async () => (await page.locator('#state').textContent())?.startsWith('Idle') === true);
    });
  });
}
