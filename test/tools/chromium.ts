// A real browser: Debian's Chromium, steered over its own protocol. Whatever a page complains about is collected.

import type { TestContext } from 'node:test';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { requireProgram } from './requirements.ts';

export interface Visit {
  page: Page;
  /** Errors of scripts, of the console, of requests that left the machine's own address, of the content policy. */
  complaints: string[];
}

/** undefined when the test was skipped and has to return. */
export async function startChromium(context: TestContext): Promise<Browser | undefined> {
  const executablePath = requireProgram(context, 'chromium');
  if (executablePath === undefined) return undefined;
  // Its sandbox wants user namespaces, which containers and root's processes often have not.
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  context.after(() => browser.close());
  return browser;
}

export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const place = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await place.newPage();
  const complaints: string[] = [];
  const { origin } = new URL(url);
  page.on('pageerror', (error) => complaints.push(`error: ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const isOurs = [origin, origin.replace(/^http/, 'ws')].includes(new URL(request.url()).origin);
    if (!isOurs) complaints.push(`request to ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}
