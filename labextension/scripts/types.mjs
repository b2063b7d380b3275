// Writes src/api.ts: the shapes of the server's API, as its OpenAPI file has them. The compiler
// then holds everything else to them, so that neither side can drift from the other.
import { readFileSync, writeFileSync } from 'node:fs';

const OPENAPI = new URL('../../chutes_jupyter/server/openapi.json', import.meta.url);
const TARGET = new URL('../src/api.ts', import.meta.url);
const PLAIN = {
  string: 'string',
  boolean: 'boolean',
  integer: 'number',
  number: 'number',
  null: 'null'
};

/** The TypeScript for a schema. */
function typeOf(schema) {
  if (schema.$ref) {
    return schema.$ref.split('/').at(-1);
  }
  if (schema.anyOf) {
    return schema.anyOf.map(typeOf).join(' | ');
  }
  if (schema.enum) {
    return schema.enum.map(each => JSON.stringify(each)).join(' | ');
  }
  if (schema.const !== undefined) {
    return JSON.stringify(schema.const);
  }
  if (schema.type === 'array') {
    return `Array<${schema.items ? typeOf(schema.items) : 'unknown'}>`;
  }
  if (schema.type === 'object') {
    const more = schema.additionalProperties;
    return `Record<string, ${more && more !== true ? typeOf(more) : 'unknown'}>`;
  }
  const plain = PLAIN[schema.type];
  return plain ?? 'unknown';
}

function comment(text, indent) {
  return text ? `${indent}/** ${text.replaceAll('*/', '* /').replaceAll('\n', ` `)} */\n` : '';
}

function interfaceOf(name, schema) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(
    ([field, shape]) =>
      comment(shape.description, '  ') +
      `  ${field}${required.has(field) ? '' : '?'}: ${typeOf(shape)};\n`
  );
  const more = schema.additionalProperties === true ? '  [more: string]: unknown;\n' : '';
  return `${comment(schema.description, '')}export interface ${name} {\n${fields.join('')}${more}}\n`;
}

function aliasOf(name, schema) {
  return schema.type === 'object' || schema.properties
    ? interfaceOf(name, schema)
    : `${comment(schema.description, '')}export type ${name} = ${typeOf(schema)};\n`;
}

const described = JSON.parse(readFileSync(OPENAPI, 'utf8'));
const base = described.servers[0].url.replace(/^\//, '');
const parts = Object.entries(described.components.schemas).map(([name, schema]) =>
  aliasOf(name, schema)
);
writeFileSync(
  TARGET,
  '// Made by scripts/types.mjs from the OpenAPI file of the server extension.\n\n' +
    `/** Where the API is, below the server's base URL. */\nexport const API = ${JSON.stringify(base)};\n\n` +
    parts.join('\n')
);
