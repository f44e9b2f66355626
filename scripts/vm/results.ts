/** What became of a test in the virtual machine: a line of JSON each, as its reporter writes them. */
export interface Result {
  /** File that it is in. */
  readonly file: string
  /** Title. */
  readonly title: string
  /** What became of it. */
  readonly status: 'passed' | 'failed' | 'skipped'
}

/** The line after the last test: without it the run did not come to its end. */
export const END = { end: true } as const

/** As much of a report of vitest as {@link import('../lib/test-report.ts').summarize} counts. */
export interface Report {
  /** Files. */
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

/**
 * Reads what the reporter in the virtual machine wrote. A run that did not come to its end counts as a file that failed.
 *
 * @param text - undefined if it wrote nothing at all
 * @param broken - why the machine did not end as it should, if so
 */
export function readResults(text: string | undefined, broken: string | undefined): Report {
  const lines = (text ?? '').split('\n').flatMap((line) => parsed(line) ?? [])
  const results = lines.filter((line) => 'title' in line)
  const ended = lines.some((line) => 'end' in line)
  const failure = broken ?? (ended ? undefined : 'the tests did not come to their end')
  const files = Map.groupBy(results, ({ file }) => file)
  return {
    testResults: [
      ...[...files].map(([name, tests]) => ({
        name,
        status: tests.some(({ status }) => status === 'failed') ? 'failed' : 'passed',
        assertionResults: tests.map(({ status, title }) => ({ status, fullName: title })),
      })),
      ...(failure === undefined ? [] : [{ name: `virtual machine: ${failure}`, status: 'failed', assertionResults: [] }]),
    ],
  }
}

/** A line can be cut where the machine was ended. */
function parsed(line: string): Result | typeof END | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value !== 'object' || value === null) return undefined
    if ('end' in value) return END
    const { file, title, status } = value as Partial<Result>
    if (typeof file !== 'string' || typeof title !== 'string') return undefined
    return status === 'passed' || status === 'failed' || status === 'skipped' ? { file, title, status } : undefined
  } catch {
    return undefined
  }
}
