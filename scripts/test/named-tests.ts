import { existsSync, readFileSync } from 'node:fs'
import { expect } from 'vitest'

const root = new URL('../../', import.meta.url)

/** A document of the repository. */
export const readDocument = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** The tests that a row of a table names: file and title as the source has them. */
const references = (cell: string): { file: string; title: string }[] =>
  [...cell.matchAll(/`([^`]+)`: “([^”]+)”/g)].map(([, file = '', title = '']) => ({ file, title }))

/** That a row of a document names a test, and that all tests that it names exist. */
export function expectNamedTests(cell: string): void {
  const tests = references(cell)
  expect(tests, 'names a test').not.toEqual([])
  for (const { file, title } of tests) {
    expect(existsSync(new URL(file, root)), `${file} exists`).toBe(true)
    const source = readDocument(file)
    // As the first argument of it, test or each(…): a title in a comment or in an assertion proves nothing.
    const quoted = ["'", '`', '"'].map((quote) => `(${quote}${title}${quote},`)
    const spread = new RegExp(`\\(\\s*['"\`]${RegExp.escape(title)}['"\`],`)
    expect(quoted.some((text) => source.includes(text)) || spread.test(source), `${file} has a test “${title}”`).toBe(true)
  }
}
