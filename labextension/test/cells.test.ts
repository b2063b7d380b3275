import { expect, test } from 'vitest';

import { cellOf, notebookPath, type CellText } from '../src/cells';
import { job } from './jobs';

const cell = (source: string, outputs = '', id = ''): CellText => ({ id, source, outputs });

test.each([
  ['%%chute_job train --port board:8080/http\nx = 1', 0],
  ['%%chute_job --run epochs=3 train', 0],
  ['@chute.job(ports=[])\nasync def train(self, **job_data):\n    pass', 0],
  ['def train(self):\n    pass', 0],
  ['%%chute_job trainer\nx = 1', null],
  ['train.submit()', null]
])('%j defines the function', (source, expected) => {
  expect(cellOf(job({ id: '3f9c2a' }), [cell(source)])).toBe(expected);
});

test('the cell that shows the job goes before the one that defines it', () => {
  const cells = [
    cell('%%chute_job train\nx = 1'),
    cell('train.submit()', '{"text/html": "train-3f9c2a"}'),
    cell('other.submit()', 'other-123456')
  ];
  expect(cellOf(job({ id: '3f9c2a' }), cells)).toBe(1);
  expect(cellOf(job({ id: 'abcdef' }), cells)).toBe(0);
});

test('the cell that submitted the job goes before one that shows it', () => {
  const cells = [
    cell('train.submit()', '', 'c1'),
    cell('chutes_jupyter.attach("train-3f9c2a")', 'train-3f9c2a', 'c2')
  ];
  expect(cellOf(job({ id: '3f9c2a', cell: 'c1' }), cells)).toBe(0);
  expect(cellOf(job({ id: '3f9c2a', cell: 'deleted' }), cells)).toBe(1);
  expect(cellOf(job({ id: '3f9c2a', cell: null }), cells)).toBe(1);
});

test.each([
  ['/work/sub/train.ipynb', '/work', 'sub/train.ipynb'],
  ['train.ipynb', '/work', 'train.ipynb'],
  ['/elsewhere/train.ipynb', '/work', null],
  ['/work/', '/work', null],
  [null, '/work', null],
  ['/work/train.ipynb', '', null]
])('the notebook %j below %j is %j', (notebook, root, expected) => {
  expect(notebookPath(notebook, root)).toBe(expected);
});
