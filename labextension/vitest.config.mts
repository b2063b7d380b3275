import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Lab's packages import each other without endings, which node alone does not find.
    server: { deps: { inline: [/@jupyterlab/, /@lumino/] } }
  }
});
