import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

it('docs/guides/fault-injection.md shows the test that is run', () => {
  expect(read('docs/guides/fault-injection.md')).toContain(`\`\`\`ts\n${read('examples/hello-adapter/test/full-disk.test.ts')}\`\`\`\n`)
})
