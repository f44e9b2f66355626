import { softFixture } from '../../../hw-soft/test/soft-card.ts'
import { hardwareCases } from '../../src/hardware/index.ts'
import { selfTest } from '../kit/self-test.ts'
import { hardwareMutants } from './mutants.ts'
import { withAdmin } from './with-admin.ts'
import { withPrograms } from './with-programs.ts'

selfTest({
  kit: 'hardware',
  cases: hardwareCases,
  mutants: hardwareMutants,
  sound: async (net) => withPrograms(withAdmin(await softFixture(net))),
})
