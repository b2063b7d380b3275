import { LabIcon } from '@jupyterlab/ui-components';

/** Lines on a field of 16 by 16, in the colour of Lab's own icons. */
function drawn(name: string, ...lines: string[]): LabIcon {
  const paths = lines.map(line => `<path d="${line}"/>`).join('');
  return new LabIcon({
    name: `chutes-jupyter:${name}`,
    svgstr:
      '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16">' +
      '<g class="jp-icon3" style="fill:none" stroke="#616161" stroke-width="1.3" ' +
      `stroke-linecap="round" stroke-linejoin="round">${paths}</g></svg>`
  });
}

/** A parachute. */
export const chuteIcon = new LabIcon({
  name: 'chutes-jupyter:chute',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16">' +
    '<g class="jp-icon3 jp-icon-selectable" fill="#616161">' +
    '<path d="M8 1C4.1 1 1 3.9 1 7.4c.7-.7 1.4-1 2.3-1s1.7.3 2.35 1C6.3 6.7 7.1 6.4 8 6.4s1.7.3 2.35 1c.65-.7 1.45-1 2.35-1s1.6.3 2.3 1C15 3.9 11.9 1 8 1z"/>' +
    '<path d="M6.3 11.5h3.4v3.5H6.3z"/></g>' +
    '<path class="jp-icon3" style="fill:none" stroke="#616161" stroke-width=".8" d="M1.2 7.5l5.3 4.2M14.8 7.5l-5.3 4.2M5.6 7.6l1.2 4M10.4 7.6l-1.2 4"/></svg>'
});

export const stopIcon = drawn('stop', 'M4 4h8v8H4z');
export const logIcon = drawn('log', 'M3 3.5h10', 'M3 6.5h7', 'M3 9.5h10', 'M3 12.5h5');
export const filesIcon = drawn(
  'files',
  'M5.5 1.8h4.7l2.8 2.8v6.9H5.5z',
  'M10 1.9v2.9h2.9',
  'M5.4 4.5H3v9.7h7.5v-2.6'
);
export const folderIcon = drawn('folder', 'M1.8 12.8V3.2h4.4l1.5 1.9h6.5v7.7z');
export const notebookIcon = drawn(
  'notebook',
  'M3.5 1.8h9.7v12.4H3.5z',
  'M6 1.9v12.2',
  'M1.8 5h2.6',
  'M1.8 8h2.6',
  'M1.8 11h2.6'
);
export const portIcon = drawn(
  'port',
  'M8 1.7a6.3 6.3 0 100 12.6A6.3 6.3 0 008 1.7z',
  'M1.8 8h12.4',
  'M8 1.8c-3.6 3.8-3.6 8.6 0 12.4',
  'M8 1.8c3.6 3.8 3.6 8.6 0 12.4'
);
export const terminalIcon = drawn(
  'terminal',
  'M1.8 2.8h12.4v10.4H1.8z',
  'M4.2 6l2.3 2-2.3 2',
  'M8 10.3h3.5'
);
export const resultIcon = drawn('result', 'M2.5 8.3l3.6 3.7 7.4-8');
export const errorIcon = drawn('error', 'M8 2.2l6.2 11.3H1.8z', 'M8 6.4v3.4', 'M8 11.6v.1');
export const removeIcon = drawn(
  'remove',
  'M2.8 4.2h10.4',
  'M6.2 4V2.3h3.6V4',
  'M4 4.5l.6 9.2h6.8l.6-9.2',
  'M6.7 7v4.2',
  'M9.3 7v4.2'
);
export const workerIcon = drawn(
  'worker',
  'M2 2.7h12v4.4H2z',
  'M2 8.9h12v4.4H2z',
  'M4.6 4.9h.1',
  'M4.6 11.1h.1'
);
export const againIcon = drawn('again', 'M12.6 5.4A5.2 5.2 0 1013.2 8', 'M13 2.4v3.2H9.8');
export const reloadIcon = drawn('reload', 'M13 8a5 5 0 11-1.5-3.6', 'M13.3 2v3h-3');
export const outsideIcon = drawn(
  'outside',
  'M9 2.5h4.5V7',
  'M13.3 2.7L7.5 8.5',
  'M11.5 9.5v4h-9v-9h4'
);
export const linkIcon = drawn(
  'link',
  'M6.7 9.3a2.6 2.6 0 003.7 0l2.6-2.6a2.6 2.6 0 00-3.7-3.7l-.8.8',
  'M9.3 6.7a2.6 2.6 0 00-3.7 0L3 9.3A2.6 2.6 0 006.7 13l.8-.8'
);
export const keyIcon = drawn(
  'key',
  'M5.2 6.7a3.2 3.2 0 100 6.4 3.2 3.2 0 000-6.4z',
  'M7.5 7.6l6-6',
  'M11 4.2l2 2'
);
export const checkIcon = drawn(
  'check',
  'M2.8 3.5l1.2 1.2 2-2.2',
  'M8 3.7h5.5',
  'M2.8 8l1.2 1.2 2-2.2',
  'M8 8.2h5.5',
  'M2.8 12.5l1.2 1.2 2-2.2',
  'M8 12.7h5.5'
);
export const addIcon = drawn('add', 'M8 3v10', 'M3 8h10');
