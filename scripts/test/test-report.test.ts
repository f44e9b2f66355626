import { describe, expect, it } from 'vitest'
import { summarize } from '../lib/test-report.ts'

const test = (status: string, fullName = 'a test') => ({ status, fullName })
const file = (name: string, status: string, ...assertionResults: unknown[]) => ({ name, status, assertionResults })

describe('summarize', () => {
  it('counts tests over all files', () => {
    const report = {
      testResults: [file('a', 'passed', test('passed'), test('passed')), file('b', 'failed', test('failed'), test('passed'))],
    }
    expect(summarize(report).line).toBe('3 passed, 1 failed')
  })

  it('names what was skipped', () => {
    const report = { testResults: [file('a', 'passed', test('pending', 'needs root: moves a link'), test('skipped'), test('todo'))] }
    expect(summarize(report)).toMatchObject({ line: '0 passed, 0 failed, 3 skipped', skipped: 3 })
    expect(summarize(report).skippedTitles[0]).toEqual({ file: 'a', title: 'needs root: moves a link' })
  })

  it('counts a file that failed without a failing test as one failure', () => {
    const report = { testResults: [file('syntax', 'failed'), file('hook', 'failed', test('skipped'))] }
    expect(summarize(report)).toMatchObject({ failed: 2, brokenFiles: ['syntax', 'hook'] })
  })

  it.each([[null], ['text'], [{}], [{ testResults: 3 }]])('refuses %j, which is no report', (report) => {
    expect(() => summarize(report)).toThrow(TypeError)
  })
})
