/** Reporter of `node --test` in the virtual machine: {@link Result}s as lines, which the host reads. */
import type { TestEvent } from 'node:test/reporters'
import { END, type Result } from './results.ts'

/** Makes a line of each test that has ended, and one of the end. */
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type === 'test:summary' && data.file === undefined) yield `${JSON.stringify(END)}\n`
    if ((type !== 'test:pass' && type !== 'test:fail') || data.details.type === 'suite') continue
    const status = type === 'test:fail' ? 'failed' : data.skip === undefined ? 'passed' : 'skipped'
    const result: Result = { file: data.file ?? '?', title: data.name, status }
    yield `${JSON.stringify(result)}\n`
  }
}
