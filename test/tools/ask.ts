// One HTTP request with exactly the headers given, and its answer.
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';

export interface Asked {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
}

export interface AskOptions {
  method?: string;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer;
}

export async function ask(port: number, path: string, options: AskOptions = {}): Promise<Asked> {
  const { method = 'GET', headers = {}, body } = options;
  const asking = request({ host: '127.0.0.1', port, path, method, headers, agent: false });
  asking.end(body);
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}
