/** Fills the generated tables of docs/authority.md from the vectors. */
import vectors from '../../../docs/vectors/authority.json' with { type: 'json' };

type Row = (typeof vectors.within)[number];

export function fillPage(page: string): string {
  const groups = ['resource', 'actions', 'delegation'];
  const blocks: Record<string, readonly string[]> = {
    intersect: intersections(),
    resources: resources(),
    'within resource': comparisons((row) => row.group === 'resource', false),
    'within actions': comparisons((row) => row.group === 'actions', false),
    'within delegation': comparisons((row) => row.group === 'delegation', false),
    'within constraints': comparisons((row) => !groups.includes(row.group) && row.group !== 'sets', true),
    permits: calls(),
  };
  let filled = page;
  for (const [name, lines] of Object.entries(blocks)) {
    const start = `<!-- generated: ${name} -->\n`;
    const at = filled.indexOf(start);
    const end = filled.indexOf('<!-- end -->', at);
    if (at === -1 || end === -1) throw new Error(`docs/authority.md has no block ${name}`);
    filled = `${filled.slice(0, at)}${start}${lines.join('\n')}\n${filled.slice(end)}`;
  }
  return filled;
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), `|${columns.map(() => '---').join('|')}|`, ...rows.map(line)];
}

/** JSON in a table cell; non-ASCII is escaped so that look-alikes show. */
function code(value: unknown): string {
  const text = JSON.stringify(value) ?? 'absent';
  let shown = '';
  for (const unit of text.length > 120 ? `${text.slice(0, 117)}...` : text) {
    shown += unit < '\u007f' ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  }
  return `\`${shown.replaceAll('|', '\\|')}\``;
}

function resources(): readonly string[] {
  const normal = vectors.resources.filter((row) => row.normal !== null);
  const refused = vectors.resources.filter((row) => row.normal === null);
  return [
    ...table(
      ['written', 'normal form'],
      normal.map((row) => [code(row.resource), code(row.normal)]),
    ),
    '',
    ...table(
      ['refused', 'for example'],
      refused.map((row) => [row.name ?? '', code(row.resource)]),
    ),
  ];
}

/** The part of an entry that a group of vectors is about. */
function subject(row: Row, side: 'a' | 'b'): string {
  const [entry] = row[side] as readonly Record<string, unknown>[];
  if (entry === undefined) return 'nothing';
  const { type: _type, resource, resource_match, actions, constraints, delegation } = entry;
  if (row.group === 'resource') return code(resource) + (resource_match === 'prefix' ? ' prefix' : '');
  if (row.group === 'actions') return code(actions);
  if (row.group === 'delegation') return delegation === undefined ? 'absent' : code(delegation);
  return constraints === undefined ? 'absent' : code(constraints);
}

const OTHER_WAY = ', the other way round';

function comparisons(chosen: (row: Row) => boolean, grouped: boolean): readonly string[] {
  const rows = vectors.within.filter(chosen);
  const back = new Map(rows.map((row) => [`${row.group} ${row.name}`, row]));
  const shown = rows.filter((row) => !row.name.endsWith(OTHER_WAY));
  return table(
    [...(grouped ? ['key'] : []), 'case', 'A', 'B', 'A within B', 'B within A'],
    shown.map((row) => {
      const other = back.get(`${row.group} ${row.name}${OTHER_WAY}`);
      const verdict = (one: Row | undefined) => (one === undefined ? '' : one.within ? 'yes' : 'no');
      const cells = [row.name, subject(row, 'a'), subject(row, 'b'), verdict(row), verdict(other)];
      return grouped ? [`\`${row.group}\``, ...cells] : cells;
    }),
  );
}

function intersections(): readonly string[] {
  return table(
    ['case', 'wanted', 'granted', 'cut by', 'reason'],
    vectors.intersect.map((row) => [
      row.name,
      String(row.wanted.length),
      String(row.granted.length),
      row.narrowed.map((cut) => `\`${cut.rule}\``).join(', ') || 'nothing',
      [...new Set(row.narrowed.map((cut) => `\`${cut.reason}\``))].join(', '),
    ]),
  );
}

function calls(): readonly string[] {
  return table(
    ['about', 'case', 'answer'],
    vectors.permits.map((row) => [
      `\`${row.group}\``,
      row.name.replaceAll('|', '\\|'),
      row.permitted ? 'permitted' : `\`${row.refusal?.code}\``,
    ]),
  );
}
