// `tidegate doctor`: what the machine allows, against what the configuration wants.
import { EXIT_ASKED_TO_STOP, EXIT_BOUNDED, TidegateError, UsageError } from '../errors.ts';
import { print } from './print.ts';

export async function doctor({ config: path, connections, json }: Record<string, string>): Promise<void> {
  const wanted = readCount(connections);
  if (process.platform !== 'linux') {
    const advice =
      'there engine portable holds what the descriptor limit lets it (ulimit -n), and a start says how many';
    throw new TidegateError('PLATFORM', `doctor knows Linux, and this is ${process.platform}: ${advice}`);
  }
  const { examine } = await import('../doctor/doctor.ts');
  const { isWell } = await import('../doctor/diagnosis.ts');
  const { diagnosisText } = await import('../doctor/text.ts');
  const diagnosis = await examine(path, wanted);
  await print(json === undefined ? diagnosisText(diagnosis) : `${JSON.stringify(diagnosis)}\n`);
  process.exitCode = isWell(diagnosis) ? EXIT_ASKED_TO_STOP : EXIT_BOUNDED;
}

function readCount(connections: string | undefined): number | undefined {
  if (connections === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(connections)) {
    throw new UsageError(`--connections takes a number of connections, not ${JSON.stringify(connections)}`);
  }
  return Number(connections);
}
