// The page of the admin API: what is served, and what a real browser makes of it, before a real balancer with real
// brokers.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { testEveryServer } from './tools/admin-servers.ts';
import { type Administered, startAdministered } from './tools/administered.ts';
import type { BalancerOptions } from './tools/balancer.ts';
import { startChromium, visit } from './tools/chromium.ts';
import { type Client, connectClient } from './tools/client.ts';
import { type Mosquitto, startMosquitto } from './tools/mosquitto.ts';
import { waitFor } from './tools/wait.ts';

const CLIENTS = 30;
const PHONE = { width: 360, height: 780 };

testEveryServer(
  'the page and what it is made of come from here, with a strict policy',
  async (adminServer, context) => {
    const admin = { bind: '127.0.0.1:0', token: 'open-sesame' };
    const balancer = await startAdministered(context, { adminServer, admin });
    const { status, headers, text } = await balancer.ask('/');
    assert.deepEqual([status, headers['content-type']], [200, 'text/html; charset=utf-8'], 'without a token');
    assert.match(
      String(headers['content-security-policy']),
      /default-src 'none'; script-src 'self'; .*frame-ancestors 'none'/,
    );
    assert.doesNotMatch(
      text,
      /<script(?![^>]* src="\/)|<style|\bon\w+=|https?:/,
      'nothing inline, nothing from elsewhere',
    );
    const seen = new Set<string>();
    const follow = async (file: string) => {
      if (seen.has(file)) return;
      seen.add(file);
      const answer = await balancer.ask(`/page/${file}`);
      assert.equal(answer.status, 200, file);
      assert.match(String(answer.headers['content-type']), /^(text\/(javascript|css)|image\/svg)/, file);
      for (const [, next] of answer.text.matchAll(/^(?:import|\} from|import .* from) .*?'\.\/(.+?)';$/gm))
        await follow(next!);
    };
    for (const [, file] of text.matchAll(/(?:src|href)="\/page\/([^"]+)"/g)) await follow(file!);
    assert.ok(seen.has('page.js') && seen.has('uplot.js') && seen.has('style.css'), [...seen].join());
    for (const other of ['index.html', 'page.ts', '..%2Froutes.ts', '%2e%2e%2fapi.ts', 'constructor', '']) {
      assert.equal((await balancer.ask(`/page/${other}`)).status, 404, other);
    }
    assert.equal((await balancer.ask('/', { headers: { host: 'evil.example' } })).status, 403);
  },
);

// ---- In Chromium -----------------------------------------------------------------------------------------------------

interface Scene {
  browser: Browser;
  balancer: Administered;
  brokers: Mosquitto[];
  clients: Client[];
  url: string;
}

/** undefined when the test was skipped and has to return. */
async function setTheScene(context: TestContext, options: Partial<BalancerOptions> = {}): Promise<Scene | undefined> {
  const browser = await startChromium(context);
  if (browser === undefined) return undefined;
  const brokers = [await startMosquitto(context), await startMosquitto(context)].filter(
    (broker) => broker !== undefined,
  );
  if (brokers.length < 2) return undefined;
  const backends = brokers.map(({ address }) => address);
  const health = { type: 'mqtt', interval: '1s', timeout: '500ms' };
  const balancer = await startAdministered(context, { backends, health, ...options });
  const clients: Client[] = [];
  for (let index = 0; index < CLIENTS; index++) {
    clients.push(await connectClient(balancer.port, { clientId: `meter-${index}`, version: 5 }));
  }
  context.after(() => clients.forEach(({ socket }) => void socket.destroy()));
  return { browser, balancer, brokers, clients, url: `http://127.0.0.1:${balancer.tidegate.admin!.port}/` };
}

async function textOf(page: Page, selector: string): Promise<string> {
  return (await page.locator(selector).first().textContent()) ?? '';
}

function figure(page: Page, name: string): Promise<string> {
  return textOf(page, `[data-figure="${name}"] strong`);
}

const row = (address: string) => `tr[data-backend="${address}"]`;

test('the page shows what happens while it happens', async (context) => {
  const scene = await setTheScene(context);
  if (scene === undefined) return;
  const { browser, balancer, brokers, clients, url } = scene;
  const { page, complaints } = await visit(browser, url);
  await page.locator('#link[data-state="live"]').waitFor();
  for (const { address } of brokers) assert.equal(await textOf(page, `${row(address)} .state`), 'up');
  await waitFor('number of connections', async () => (await figure(page, 'connections')) === String(CLIENTS));
  const shares = await Promise.all(brokers.map(({ address }) => textOf(page, `${row(address)} .load b`)));
  assert.equal(
    shares.reduce((sum, share) => sum + Number(share), 0),
    CLIENTS,
  );
  for (const { socket } of clients.slice(0, 10)) socket.destroy();
  await waitFor('fewer of them', async () => (await figure(page, 'connections')) === String(CLIENTS - 10));
  const rates = waitFor('rate of CONNECTs', async () => Number(await figure(page, 'connects')) > 0);
  for (let index = 0; index < 10; index++)
    clients.push(await connectClient(balancer.port, { clientId: `car-${index}` }));
  await rates;
  assert.equal(await page.locator('.chart canvas').count(), 4);
  await brokers[1]!.kill();
  await page.locator(`${row(brokers[1]!.address)} .state[data-state="down"]`).waitFor();
  await page.locator('#events li[data-event="backend_state"]').first().waitFor();
  assert.deepEqual(complaints, []);
});

test('a click on Drain is seen to happen, and so is the way back', async (context) => {
  const scene = await setTheScene(context);
  if (scene === undefined) return;
  const { browser, balancer, brokers, url } = scene;
  const { page, complaints } = await visit(browser, url);
  const { address } = brokers[0]!;
  const drain = page.getByRole('button', { name: `Drain ${address}` });
  await drain.click();
  await page.keyboard.press('Escape');
  assert.equal(await textOf(page, `${row(address)} .state`), 'up', 'Escape does nothing');
  await drain.click();
  await page.getByLabel('may stay').check();
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
  await page.locator(`${row(address)} .state[data-state="drain"]`).waitFor();
  assert.equal((await balancer.status()).pools[0]!.backends[0]!.operator, 'drain');
  await page.getByRole('button', { name: `${address} up` }).click();
  await page.locator(`${row(address)} .state[data-state="up"]`).waitFor();
  await page.getByRole('button', { name: `More about ${address}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Down…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Take down' }).click();
  await page.locator(`${row(address)} .state[data-state="down"]`).waitFor();
  assert.deepEqual(complaints, []);
});

test('Drain moves clients away before the eyes of whoever clicked', async (context) => {
  const scene = await setTheScene(context);
  if (scene === undefined) return;
  const { browser, brokers, url } = scene;
  const { page, complaints } = await visit(browser, url);
  const { address } = brokers[0]!;
  await page.locator('#link[data-state="live"]').waitFor();
  await page.getByRole('button', { name: `Drain ${address}` }).click();
  await page.getByRole('dialog').getByRole('spinbutton').fill('10');
  await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
  await page.locator(`${row(address)} .move`).waitFor();
  await waitFor('drained backend', async () => (await textOf(page, `${row(address)} .load b`)) === '0', 20_000);
  assert.deepEqual(complaints, []);
});

test('a client is found by the beginning of its ClientId', async (context) => {
  const scene = await setTheScene(context);
  if (scene === undefined) return;
  const { page, complaints } = await visit(scene.browser, scene.url);
  await page.getByLabel('ClientId begins with').fill('meter-17');
  await page.locator('tr[data-client="meter-17"]').waitFor();
  await waitFor('no other', async () => (await page.locator('tr[data-client]').count()) === 1);
  await page.getByRole('button', { name: 'Disconnect meter-17' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await waitFor('closed connection', () => scene.clients[17]!.socket.resume().closed);
  assert.deepEqual(complaints, []);
});

test('the page asks for the token once, and again when it is wrong', async (context) => {
  const scene = await setTheScene(context, { admin: { bind: '127.0.0.1:0', token: 'open-sesame' } });
  if (scene === undefined) return;
  const { page, complaints } = await visit(scene.browser, scene.url);
  const dialog = page.getByRole('dialog');
  for (const token of ['open-sesam', 'open-sesame']) {
    await dialog.getByLabel('Token').fill(token);
    await dialog.getByRole('button', { name: 'Open' }).click();
  }
  await page.locator('#link[data-state="live"]').waitFor();
  await page.reload();
  await page.locator('#link[data-state="live"]').waitFor();
  assert.equal(await dialog.count(), 0);
  const others = complaints.filter((complaint) => !complaint.includes('401'));
  assert.deepEqual(others, []);
});

test('it fits a phone, is light and dark, and says when Tidegate is away', async (context) => {
  const scene = await setTheScene(context);
  if (scene === undefined) return;
  const { browser, url } = scene;
  const phone = await visit(browser, url, { viewport: PHONE, colorScheme: 'dark' });
  await phone.page.locator('#link[data-state="live"]').waitFor();
  await phone.page.locator('.chart canvas').first().waitFor();
  assert.equal(await phone.page.evaluate('document.documentElement.scrollWidth'), PHONE.width);
  const brightness = async () => {
    const colour = String(await phone.page.evaluate('getComputedStyle(document.body).backgroundColor'));
    return Math.max(...colour.match(/\d+/g)!.map(Number));
  };
  assert.ok((await brightness()) < 64, 'dark, as the system');
  const theme = phone.page.getByRole('button', { name: /^Theme/ });
  await theme.click();
  assert.ok((await brightness()) > 192, 'light, as chosen');
  await phone.page.reload();
  assert.ok((await brightness()) > 192, 'still light');
  assert.deepEqual(phone.complaints, []);
  await scene.balancer.stop();
  await phone.page.locator('#link[data-state="connecting"]').waitFor();
});
