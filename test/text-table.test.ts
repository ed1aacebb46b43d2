import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durationText, textTable } from '../src/text-table.ts';

test('columns are as wide as their widest cell, numbers stand at the right', () => {
  const text = textTable(
    ['NAME', 'COUNT'],
    [
      ['a', 7],
      ['longer', 12345678],
    ],
  );
  assert.equal(text, 'NAME       COUNT\na              7\nlonger  12345678\n');
});

test('a table without rows is its headings', () => {
  assert.equal(textTable(['NAME', 'COUNT'], []), 'NAME  COUNT\n');
});

test('nothing in a cell reaches the terminal as a control code', () => {
  assert.equal(textTable(['N'], [['a\x1b[31m\u202eb\n']]), 'N\na?[31m?b?\n');
});

test('durations are told in their two largest units', () => {
  assert.deepEqual([0, 59.9, 60, 61, 3600, 3661, 93_784, 86_400].map(durationText), [
    '0 s',
    '59 s',
    '1 min',
    '1 min 1 s',
    '1 h',
    '1 h 1 min',
    '1 d 2 h',
    '1 d',
  ]);
});
