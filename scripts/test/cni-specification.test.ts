import { describe, expect, it } from 'vitest'
import { expectNamedTests, readDocument } from './named-tests.ts'

const rows = readDocument('docs/cni-specification.md')
  .split('\n')
  .filter((line) => /^\| [\d.x]+( [A-Z]+)? +\|/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))

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
    expectNamedTests(shown)
  })
})
