// What is asked of Tidegate through its admin API while it carries everybody, and how long the answers take.
import type { MoveDocument } from '../../src/admin/move-document.ts';
import type { StatusDocument } from '../../src/admin/status-document.ts';

const ROUNDS = 5;

export interface Taken {
  medianMs: number;
  maxMs: number;
}

export class Admin {
  readonly #url: string;

  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}/api/v1`;
  }

  status(): Promise<StatusDocument> {
    return this.#ask('GET', '/status');
  }

  timeStatus(): Promise<Taken> {
    return timed(() => this.status());
  }

  /** `searched` is how many connections were looked at, `matched` how many begin with that. */
  async timeSearch(clientIdPrefix: string): Promise<Taken & { searched: number; matched: number }> {
    let found = { searched: 0, matched: 0 };
    const taken = await timed(async () => {
      found = await this.#ask('GET', `/connections?client_id=${encodeURIComponent(clientIdPrefix)}`);
    });
    return { ...taken, searched: found.searched, matched: found.matched };
  }

  /** `rate` in connections a second. */
  drain(pool: string, address: string, rate: number): Promise<MoveDocument> {
    return this.#ask('POST', `/pools/${pool}/backends/${encodeURIComponent(address)}/drain`, { rate });
  }

  async move(id: number): Promise<MoveDocument> {
    const { moves } = await this.#ask<{ moves: MoveDocument[] }>('GET', '/moves');
    return moves.find((move) => move.id === id)!;
  }

  async #ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const headers = { 'content-type': 'application/json' };
    const sent = body === undefined ? {} : { headers, body: JSON.stringify(body) };
    const answer = await fetch(`${this.#url}${path}`, { method, ...sent });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Answer;
  }
}

async function timed(ask: () => Promise<unknown>): Promise<Taken> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const beganMs = performance.now();
    await ask();
    times.push(performance.now() - beganMs);
  }
  times.sort((a, b) => a - b);
  return { medianMs: times[ROUNDS >> 1]!, maxMs: times.at(-1)! };
}
