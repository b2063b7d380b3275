import js from '@eslint/js';
import hooks from 'eslint-plugin-react-hooks';
import ts from 'typescript-eslint';

export default ts.config(
  { ignores: ['lib', 'dist', 'node_modules', 'src/api.ts'] },
  js.configs.recommended,
  {
    files: ['scripts/**'],
    languageOptions: { globals: { console: 'readonly', process: 'readonly', URL: 'readonly' } }
  },
  {
    files: ['src/**/*.{ts,tsx}', 'test/**/*.ts'],
    extends: [...ts.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: { project: './tsconfig.eslint.json', tsconfigRootDir: import.meta.dirname }
    },
    plugins: { 'react-hooks': hooks },
    rules: {
      ...hooks.configs.recommended.rules,
      complexity: ['error', 10],
      'max-lines': ['error', 400],
      eqeqeq: 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      // An event handler of React may be async; what it throws is caught inside it.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      // Signals are told whose method they call.
      '@typescript-eslint/unbound-method': 'off',
      // Lab keeps the ids of its commands so.
      '@typescript-eslint/no-namespace': 'off'
    }
  },
  {
    // In markup each thing that may be missing counts as a branch.
    files: ['src/widgets/**/*.tsx'],
    rules: { complexity: ['error', 15] }
  }
);
