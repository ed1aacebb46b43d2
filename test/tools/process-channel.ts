// A process of a test's own, which is asked things and answers: `node FILE OPTIONS`, with options as JSON.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';

/** Ends with the test at the latest. */
export function startProcess(context: TestContext, file: string, options: object): ChildProcess {
  const child = fork(new URL(file, import.meta.url), [JSON.stringify(options)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  context.after(() => void (child.connected && child.disconnect()));
  return child;
}

/** The next thing that it says. */
export async function answerOf<Answer>(child: ChildProcess): Promise<Answer> {
  const settled = new AbortController();
  const { signal } = settled;
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`a process of the test ended with ${code}`);
  });
  try {
    const [answer] = await Promise.race([once(child, 'message', { signal }), ended]);
    return answer;
  } finally {
    settled.abort(); // or the listeners of every question stay
  }
}

export function askProcess<Answer>(child: ChildProcess, question: string): Promise<Answer> {
  const answer = answerOf<Answer>(child);
  child.send(question);
  return answer;
}
