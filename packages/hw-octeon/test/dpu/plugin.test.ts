import { expect, it } from 'vitest'
import { octeonDpuOptions } from '../../src/index.ts'

const problems = (options: object): unknown =>
  octeonDpuOptions.safeParse(options).error?.issues.map(({ path, message }) => [path.join('.'), message.split(':')[0]])

it('has defaults for all that it has to know', () => {
  expect(octeonDpuOptions.parse({})).toMatchObject({ device: 'octeon0', root: '/', controlAgent: { run: 'supervise', sdk: 'auto' } })
})

it.each([
  ['a child in a container', { root: '/host' }, [['controlAgent.run', "'external' where root is not '/'"]]],
  [
    'a set-up for an agent that is there before it',
    { controlAgent: { run: 'external', setup: { node: 'n1' } } },
    [['controlAgent.setup', "no set-up where run is 'external'"]],
  ],
])('refuses %s, and says what is wrong', (_, options, wanted) => expect(problems(options)).toEqual(wanted))

it.each([
  { controlAgent: { run: 'external' } },
  { root: '/host', controlAgent: { run: 'external' } },
  { controlAgent: { setup: { node: 'n1' } } },
])('takes %j', (options) => expect(problems(options)).toBeUndefined())
