import { adapterCases } from '../../src/adapter/index.ts'
import { selfTest } from '../kit/self-test.ts'
import { adapterMutants } from './mutants.ts'
import { soundFixture } from './sound-fixture.ts'

selfTest({ kit: 'adapter', cases: adapterCases, mutants: adapterMutants, sound: soundFixture })
