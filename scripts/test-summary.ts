/**
 * Prints what was skipped and, as the last line, the counts of a test run, from vitest's JSON report.
 * Usage: node scripts/test-summary.ts REPORT.json STATUS, where STATUS is the one that vitest ended with. Exits with 1 when the report cannot be read.
 */
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { summarize } from './lib/test-report.ts'

const [file, status] = process.argv.slice(2)
if (file === undefined || status === undefined) throw new Error('usage: test-summary.ts REPORT.json STATUS')
try {
  const summary = summarize(JSON.parse(readFileSync(file, 'utf8')))
  for (const skipped of summary.skippedTitles) console.log(`skipped: ${relative(process.cwd(), skipped.file)}: ${skipped.title}`)
  for (const broken of summary.brokenFiles) console.log(`failed outside of a test: ${relative(process.cwd(), broken)}`)
  if (status !== '0' && summary.failed === 0) console.log(`vitest ended with status ${status} although no test failed: see above`)
  console.log(summary.line)
} catch (cause) {
  console.error(`the counts cannot be read from ${file}: ${cause instanceof Error ? cause.message : String(cause)}`)
  process.exitCode = 1
}
