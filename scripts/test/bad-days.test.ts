import { describe, expect, it } from 'vitest'
import { expectNamedTests, readDocument } from './named-tests.ts'

const rows = readDocument('docs/guides/bad-days.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| what happens'))
  .map((line) => line.split('|').map((cell) => cell.trim()))

describe('docs/guides/bad-days.md', () => {
  it('has rows', () => expect(rows.length).toBeGreaterThan(20))

  it.each(rows.map(([, what = '', follows = '', shown = '']) => ({ what, follows, shown })))('$what', ({ follows, shown }) => {
    expect(follows).not.toBe('')
    expectNamedTests(shown)
  })
})
