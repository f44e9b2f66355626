import { describe, expect, it } from 'vitest'
import { summarize } from '../../lib/test-report.ts'
import { END, readResults } from '../../vm/results.ts'

const lines = (...values: unknown[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('')
const result = (status: string, title = 'a test'): object => ({ file: 'e2e/vm/a.test.ts', title, status })

describe('results of the tests in a virtual machine', () => {
  it('are counted as all others', () => {
    const report = readResults(lines(result('passed'), result('failed'), result('skipped', 'no card'), END), undefined)
    expect(summarize(report)).toMatchObject({
      line: '1 passed, 1 failed, 1 skipped',
      brokenFiles: [],
      skippedTitles: [{ file: 'e2e/vm/a.test.ts', title: 'no card' }],
    })
  })

  it.each([
    ['nothing was written', undefined],
    ['the end is missing', lines(result('passed'))],
    ['a line was cut', `${lines(result('passed'))}{"end":tr`],
    ['something else stands there', 'Segmentation fault\n[]\n7\n{"file":"a"}\n'],
  ])('%s: that is a failure', (_, text) => {
    const { failed, brokenFiles } = summarize(readResults(text, undefined))
    expect(failed).toBe(1)
    expect(brokenFiles).toEqual(['virtual machine: the tests did not come to their end'])
  })

  it('a machine that did not end as it should is a failure, whatever the tests say, and says why', () => {
    const { line, brokenFiles } = summarize(readResults(lines(result('passed'), END), 'QEMU ended with SIGKILL'))
    expect(line).toBe('1 passed, 1 failed')
    expect(brokenFiles).toEqual(['virtual machine: QEMU ended with SIGKILL'])
  })
})
