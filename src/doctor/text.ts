// The diagnosis for people: the verdict first, then every check, then what to type.
import { textTable } from '../text-table.ts';
import { type Diagnosis, type Finding, isWell } from './diagnosis.ts';
import { countText } from './units.ts';

export function diagnosisText(diagnosis: Diagnosis): string {
  const { checks } = diagnosis;
  const [faults, hints] = [false, true].map((isHint) => checks.filter(({ verdict }) => (verdict === 'ok') === isHint));
  return [
    `${verdictLine(diagnosis)}\nEngine ${diagnosis.engine}, ${diagnosis.workers} workers.\n`,
    checkTable(checks),
    lineTable('TO MEND', faults!),
    lineTable('MAY BE BETTER', hints!),
  ]
    .filter((section) => section !== '')
    .join('\n');
}

/** "1,000,000 connections: bounded to 19,936 by RLIMIT_NOFILE". */
export function verdictLine(diagnosis: Diagnosis): string {
  const { connections, checks } = diagnosis;
  const { wanted, source, possible, bounded_by } = connections;
  const failing = checks.filter(({ verdict }) => verdict === 'fails').map(({ name }) => name);
  const verdicts = [
    ...(failing.length === 0 ? [] : [`no start, because of ${failing.join(', ')}`]),
    ...(bounded_by === null ? [] : [`bounded to ${countText(possible)} by ${bounded_by}`]),
    ...(isWell(diagnosis) ? ['nothing here bounds them'] : []),
  ];
  const asked = source === '--connections' ? '' : ` (${source})`;
  return `${countText(wanted)} connections${asked}: ${verdicts.join('; ')}`;
}

/** What was found may be a whole sentence, so it comes last. */
function checkTable(checks: readonly Finding[]): string {
  const rows = checks.map((check) => [check.name, verdictText(check), check.needed, check.found]);
  return textTable(['CHECK', 'VERDICT', 'NEEDED', 'FOUND'], rows);
}

function verdictText({ verdict, bound }: Finding): string {
  return verdict === 'bounds' ? `bounds to ${countText(bound!)}` : verdict;
}

/** Each check's lines are ways to choose from. */
function lineTable(heading: string, checks: readonly Finding[]): string {
  const rows = checks.flatMap(({ name, mend }) => mend.map((line, index) => [index === 0 ? name : '  or', line]));
  return rows.length === 0 ? '' : textTable([heading, 'LINE'], rows);
}
