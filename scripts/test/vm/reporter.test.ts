import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { readResults } from '../../vm/results.ts'

const folder = mkdtempSync(join(tmpdir(), 'vm-reporter-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('tells of each test of node --test, in suites or not, and of the end', () => {
  const file = join(folder, 'a.test.mjs')
  writeFileSync(
    file,
    `import { describe, test } from 'node:test'
test('passes', () => {})
describe('suite', () => { test('fails', () => { throw new Error('no') }) })
test('is skipped', { skip: 'for a reason' }, () => {})
`,
  )
  const results = join(folder, 'results')
  const reporter = join(import.meta.dirname, '../../vm/reporter.ts')
  const argv = ['--test', '--test-isolation=none', `--test-reporter=${reporter}`, '--test-reporter-destination=stdout', file]
  const run = (): string => execFileSync(process.execPath, argv, { encoding: 'utf8', env: { PATH: process.env['PATH'] }, stdio: 'pipe' })
  let output = ''
  try {
    output = run()
  } catch (error) {
    output = (error as { stdout: string }).stdout
  }
  writeFileSync(results, output)
  expect(readResults(output, undefined)).toEqual({
    testResults: [
      {
        name: file,
        status: 'failed',
        assertionResults: [
          { status: 'passed', fullName: 'passes' },
          { status: 'failed', fullName: 'fails' },
          { status: 'skipped', fullName: 'is skipped' },
        ],
      },
    ],
  })
}, 60_000)
