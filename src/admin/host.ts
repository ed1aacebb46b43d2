// The admin API over the life of the process: the configuration may move it, or give it another token.
import { isDeepStrictEqual } from 'node:util';
import type { AdminConfig } from '../config.ts';
import type { Balancer } from '../control/balancer.ts';
import { type AdminServer, type AdminServerKind, readToken, startAdmin } from './server.ts';

/** A server that moves lets the answers go out that are on their way, that to the request for the move among them. */
const FAREWELL_MS = 500;

/** What is ready to be put in force. */
export interface StagedAdmin {
  commit(): void;
  abandon(): Promise<void>;
}

export class AdminHost {
  readonly #balancer: Balancer;
  readonly #kind: AdminServerKind;
  #config: AdminConfig | null = null;
  #server: AdminServer | undefined;
  /** Servers that have moved, until they are closed. */
  readonly #leaving = new Map<AdminServer, NodeJS.Timeout>();

  constructor(balancer: Balancer, kind: AdminServerKind) {
    this.#balancer = balancer;
    this.#kind = kind;
  }

  /** undefined: there is none. */
  get address(): { host: string; port: number } | undefined {
    return this.#server && { host: this.#server.host, port: this.#server.port };
  }

  /** `mayBeLate`: a predecessor may have its port for a while; then there is none until it is started again. */
  async start(config: AdminConfig | null, mayBeLate = false): Promise<void> {
    (await this.prepare(config, mayBeLate)).commit();
  }

  /** Fails with a TidegateError, and then nothing has changed. A server that moves listens at both places for a while. */
  async prepare(config: AdminConfig | null, mayBeLate = false): Promise<StagedAdmin> {
    const current = this.#server;
    if (config !== null && current !== undefined && isDeepStrictEqual(config.bind, this.#config?.bind)) {
      const token = await readToken(config);
      return { commit: () => this.#retoken(config, token), abandon: async () => {} };
    }
    const server = await startAdmin(config, this.#balancer, this.#kind, mayBeLate);
    return { commit: () => this.#replace(config, server), abandon: async () => server?.close() };
  }

  async close(): Promise<void> {
    const servers = [...this.#leaving.keys(), ...(this.#server === undefined ? [] : [this.#server])];
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    this.#leaving.clear();
    this.#server = undefined;
    await Promise.all(servers.map((server) => server.close()));
  }

  #retoken(config: AdminConfig, token: string): void {
    this.#config = config;
    this.#server!.setToken(token);
  }

  #replace(config: AdminConfig | null, server: AdminServer | undefined): void {
    const before = this.#server;
    this.#config = config;
    this.#server = server;
    if (before !== undefined)
      this.#leaving.set(
        before,
        setTimeout(() => this.#farewell(before), FAREWELL_MS),
      );
  }

  #farewell(server: AdminServer): void {
    this.#leaving.delete(server);
    void server.close();
  }
}
