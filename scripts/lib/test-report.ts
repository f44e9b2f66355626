/** What one run of the tests amounts to. */
export interface TestSummary {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** `N passed, M failed`, with `, K skipped` when something was. */
  readonly line: string
  readonly skippedTitles: readonly { readonly file: string; readonly title: string }[]
  /** Files that failed although none of their tests did (a syntax error, a failed hook); each counts as one failure. */
  readonly brokenFiles: readonly string[]
}

interface FileResult {
  readonly name: string
  readonly status: string
  readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
}

/**
 * Counts from the tests themselves, not from the totals of the report, so that a file that could not be loaded is a failure too.
 * @throws TypeError when `report` is not a JSON report of vitest.
 */
export function summarize(report: unknown): TestSummary {
  const files = (report as { testResults?: FileResult[] } | null)?.testResults
  if (!Array.isArray(files)) throw new TypeError('no list `testResults` in the report')
  let passed = 0
  let failed = 0
  const skippedTitles: { file: string; title: string }[] = []
  const brokenFiles: string[] = []
  for (const file of files) {
    const failedBefore = failed
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed++
      else if (test.status === 'failed') failed++
      else skippedTitles.push({ file: file.name, title: test.fullName })
    }
    if (file.status === 'failed' && failed === failedBefore) {
      brokenFiles.push(file.name)
      failed++
    }
  }
  const skipped = skippedTitles.length
  const line = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
  return { passed, failed, skipped, line, skippedTitles, brokenFiles }
}
