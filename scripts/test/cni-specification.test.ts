import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const root = new URL('../../', import.meta.url)
const page = readFileSync(new URL('docs/cni-specification.md', root), 'utf8')
const rows = page
  .split('\n')
  .filter((line) => /^\| [\d.x]+( [A-Z]+)? +\|/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))

/** The tests that a row names: file and title as the source has them. */
const references = (cell: string): { file: string; title: string }[] =>
  [...cell.matchAll(/`([^`]+)`: “([^”]+)”/g)].map(([, file = '', title = '']) => ({ file, title }))

describe('docs/cni-specification.md', () => {
  it('has requirements of every section and of the versions before', () => {
    const sections = new Set(rows.map(([, section]) => section))
    for (const section of [
      '1',
      '2',
      '2 ADD',
      '2 DEL',
      '2 CHECK',
      '2 STATUS',
      '2 VERSION',
      '2 GC',
      '3',
      '4',
      '5',
      '0.4.0',
      '0.3.x',
      '0.2.0',
      '0.1.0',
    ])
      expect(sections, section).toContain(section)
    expect(new Set(rows.map(([, , who]) => who))).toEqual(new Set(['plugin', 'runtime']))
  })

  it.each(rows.map(([, section = '', , what = '', shown = '']) => ({ section, what, shown })))('$section: $what', ({ shown }) => {
    const tests = references(shown)
    expect(tests, 'names a test').not.toEqual([])
    for (const { file, title } of tests) {
      expect(existsSync(new URL(file, root)), `${file} exists`).toBe(true)
      const source = readFileSync(new URL(file, root), 'utf8')
      // As the first argument of it, test or each(…): a title in a comment or in an assertion proves nothing.
      const quoted = ["'", '`', '"'].map((quote) => `(${quote}${title}${quote},`)
      const spread = new RegExp(`\\(\\s*['"\`]${RegExp.escape(title)}['"\`],`)
      expect(quoted.some((text) => source.includes(text)) || spread.test(source), `${file} has a test “${title}”`).toBe(true)
    }
  })
})
