"""The bodies that scenes are made of, as tables; bodies.py says how to read them."""

BODIES = {
    # Furniture: the front faces -z, the back stands against +z.
    "bed": """
        wood         box   -.8,.8   0,1      .95,1.05
        wood         box   -.8,.8   .08,.3   -1,.95
        white        box   -.8,.8   .3,.52   -1,.95
        white/pillow boxes .1,.7    .52,.68  .5,.88
        cloth        box   -.83,.83 .28,.57  -1.03,.3""",
    "table": """
        wood     box   -.8,.8 .7,.75 -.42,.42
        wood*.85 boxes .73,.8 0,.7   -.42,-.35
        wood*.85 boxes .73,.8 0,.7   .35,.42""",
    "chair": """
        wood*1.1 box   -.24,.24 .43,.49 -.24,.22
        wood     box   -.17,.17 .62,.98 .17,.22
        wood     boxes .17,.22  0,.98   .17,.22
        wood*.8  boxes .17,.22  0,.43   -.22,-.17""",
    "sofa": """
        cloth         box   -.95,.95 .1,.88  .28,.48
        cloth*.9      box   -.95,.95 .08,.3  -.42,.3
        cloth*1.05    boxes .01,.76  .3,.46  -.4,.3
        cloth*1.1     boxes .77,.95  .08,.62 -.44,.34
        dress/cushion boxes .28,.7   .46,.82 .1,.27""",
    "cabinet": """
        wood     box   -.5,.5  0,1     -.26,.28
        wood*.92 boxes .02,.47 .06,.95 -.28,-.26
        brass    boxes .05,.09 .45,.6  -.3,-.28""",
    "shelf": """
        wood*.4     box   -.5,.5   0,1.8     0,.17
        wood        boxes .46,.5   0,1.8     -.17,0
        wood        box   -.5,.5   1.76,1.8  -.17,0
        wood        box   -.46,.46 1.34,1.37 -.17,0
        wood        box   -.46,.46 .5,.53    -.17,0
        books/book  quad  -.46,.46 1.37,1.7  -.12
        books1/book quad  -.46,.46 .95,1.28  -.12
        books2/book quad  -.46,.46 .53,.86   -.12
        books3/book quad  -.46,.46 .04,.44   -.12""",
    "tv": """
        black  box -.5,.5   0,.66   -.03,.03
        screen box -.46,.46 .12,.62 -.035,-.03""",
    "lamp:table": """
        cloth    oval 0,.02   .14,.03
        cloth*.9 poly -.05,0  .05,0  .03,.3 -.03,.3
        cloth    oval 0,.14   .08,.11
        cream    poly -.2,.26 .2,.26 .11,.52 -.11,.52""",
    "lamp:ceiling": """
        black line .02 0,0 0,-.5
        cloth poly -.07,-.48 .07,-.48 .25,-.75 -.25,-.75
        cream oval 0,-.75 .24,.05""",
    "plant": """
        green    polys 0,.3 .5,.6 .62,.5 .4,.5
        green*.8 polys 0,.3 .46,.95 .55,1.05 .32,.98
        green*.9 poly  0,.3 -.1,1.2 .02,1.45 .1,1.2
        pot      poly  -.14,0 .14,0 .19,.34 -.19,.34""",
    "bottle": """
        green poly -.05,0 .05,0 .05,.2 -.05,.2
        green poly -.02,.2 .02,.2 .02,.32 -.02,.32""",
    # Things on walls.
    "window": "window quad -.7,.7 0,1.3 -.01",
    "curtain": "curtain quads .6,1 -.6,1.45 -.03",
    "door": "door quad -.46,.46 0,2.05 -.01\nbrass box .28,.36 .95,1.05 -.04,-.01",
    "picture": "painting quad -.4,.4 0,.6 -.02",
    # People, animals and two-wheelers: flat, seen from the side.
    "person": """
        dress2*.8 line .15 -.02,.88 -.1,.48 -.18,.04
        dress2    line .15 .02,.88 .1,.48 .16,.04
        dress*.85 line .1 -.2,1.38 -.28,1.1 -.24,.88
        dress*.85 line .1 .2,1.38 .28,1.1 .3,.9
        skin      oval -.24,.85 .05,.06
        skin      oval .3,.87   .05,.06
        dress     poly -.17,.82 .17,.82 .23,1.42 .08,1.49 -.08,1.49 -.23,1.42
        skin      oval 0,1.62   .09,.14
        hair      oval -.01,1.7 .1,.08""",
    "rider": """
        dress2   line .16 -.22,.98 .12,.72 -.05,.3
        dress    poly -.36,.95 -.08,.95 .2,1.45 -.02,1.55 -.22,1.45
        dress*.8 line .1 .1,1.42 .25,1.15 .4,1.05
        skin     oval .16,1.66 .1,.13
        paint    oval .14,1.73 .12,.09""",
    "bicycle": """
        black ring -.52,.34 .33,.06
        black ring .52,.34  .33,.06
        paint line .055 -.52,.34 -.12,.34 .36,.82 -.2,.84 -.12,.34
        paint line .05 -.52,.34 -.2,.84 -.22,.96
        paint line .05 .52,.34 .36,.82 .33,1 .45,1.04""",
    "motorcycle": """
        black  ring -.62,.31 .27,.13
        black  ring .62,.31  .27,.13
        steel  poly -.5,.3 .35,.25 .45,.6 -.35,.62
        paint  poly -.2,.6 .42,.58 .5,.85 .1,.92
        silver line .07 .62,.31 .42,.95 .3,1.05""",
    "dog": """
        fur*.8  poly -.33,0 -.25,0 -.2,.34 -.36,.34
        fur*.8  poly .22,0 .3,0 .32,.34 .16,.34
        fur     oval 0,.4 .38,.15
        fur     poly .18,.38 .36,.38 .48,.64 .32,.66
        fur     oval .44,.64 .13,.1
        fur*.8  poly .5,.62 .65,.59 .64,.53 .5,.55
        fur     line .05 -.36,.46 -.5,.58 -.56,.74""",
    # Vehicles face +z: one ahead shows its rear.
    "car": """
        paint  prism -.88,.88 -2.1,.25 -2.15,.88 -2,.97 1.05,1 2,.8 2.15,.55 2.1,.25
        glass  prism -.78,.78 -1.85,.95 -1.4,1.46 .25,1.46 1.05,.95
        paint  prism -.8,.8   -1.45,1.43 -1.38,1.52 .2,1.52 .32,1.43
        paint  box   -.79,.79 .95,1.46 -.5,-.4
        black  wheel -.89,.89 -1.3,.35 .35
        black  wheel -.89,.89 1.32,.35 .35
        silver wheel -.9,.9   -1.3,.35 .2
        silver wheel -.9,.9   1.32,.35 .2
        red    boxes .5,.86   .66,.85 -2.18,-2.1
        cream  boxes .5,.84   .6,.74  2.05,2.19
        black  box   -.42,.42 .36,.58 2.1,2.18
        white  box   -.26,.26 .5,.62  -2.18,-2.1""",
    "bus": """
        bus    box   -1.25,1.25 .35,3.1  -5,5
        glass  box   -1.26,1.26 1.5,2.6  -4.6,3.9
        bus    box   -1.27,1.27 1.5,2.6  -1.7,-1.5
        bus    box   -1.27,1.27 1.5,2.6  1.5,1.7
        sky    box   -1.1,1.1   1.45,2.8 -5.02,5.02
        black  wheel -1.27,1.27 -3.1,.48 .48
        black  wheel -1.27,1.27 3.1,.48  .48
        red    boxes .75,1.15   .68,.9   -5.03,-5
        cream  boxes .75,1.15   .6,.85   5,5.03""",
    "train": """
        tram   prism -1.25,1.25 -7.6,.25 -8,1.3 7.9,1.3 7.6,.25
        white  prism -1.25,1.25 -8,1.3 -7.7,3.2 -7.2,3.5 7.2,3.5 7.7,3.2 8,1.3
        glass  box   -1.26,1.26 1.6,2.7 -6.8,6.8
        white  box   -1.27,1.27 1.6,2.7 -.3,.3
        sky    box   -1.05,1.05 1.5,2.8 -7.95,7.95
        amber  boxes .6,1       .75,1   -8.02,8.02""",
    "truck": """
        load  box   -1.15,1.15 .5,3.4   -3.6,1.6
        paint box   -1.1,1.1   .45,2.5  1.65,3.4
        sky   box   -.95,.95   1.5,2.3  1.65,3.43
        glass box   -1.11,1.11 1.5,2.25 2.1,3.2
        black wheel -1.12,1.12 -2.6,.46 .46
        black wheel -1.12,1.12 2.4,.46  .46
        red   boxes .7,1.05    .82,1    -3.63,-3.6""",
    # Outdoors. A tree, a bush and a house's roof are stretched by the caller.
    "tree": "trunk poly -.035,0 .035,0 .02,.6 -.02,.6\ncrown quad -.36,.36 .18,1 -.01",
    "bush": "crown quad -.8,.8 -.2,1 0",
    "fence": "fence quad 0,1 0,1 0",
    "wall": "bricks quad 0,1 0,1 0",
    "building:roof": "roof prism -.55,.55 -.55,0 0,.4 .55,0",
    "streetlight": """
        steel/pole poly -.08,0 .08,0 .05,6 -.05,6
        steel      line .09 0,6 .5,6.3 1.2,6.3
        silver     poly .9,6.2 1.7,6.2 1.6,6.42 .9,6.38""",
    "traffic light": """
        steel/pole poly -.06,0 .06,0 .05,3.2 -.05,3.2
        black      poly -.22,2.4 .22,2.4 .22,3.5 -.22,3.5
        green*1.5  oval 0,2.62 .13,.13
        amber      oval 0,2.95 .13,.13
        red        oval 0,3.28 .13,.13""",
    "sign:warning": """
        steel/pole poly -.06,0 .06,0 .05,2.6 -.05,2.6
        red        poly -.46,2.3 .46,2.3 0,3.08
        white      poly -.29,2.4 .29,2.4 0,2.88""",
    "sign:no entry": """
        steel/pole poly -.06,0 .06,0 .05,2.6 -.05,2.6
        red        oval 0,2.6 .38,.38
        white      poly -.27,2.53 .27,2.53 .27,2.67 -.27,2.67""",
    "sign:direction": """
        steel/pole poly -.06,0 .06,0 .05,2.6 -.05,2.6
        blue       poly -.55,2.35 .55,2.35 .55,2.9 -.55,2.9
        white      poly -.1,2.42 .1,2.42 .1,2.62 .3,2.62 0,2.84 -.3,2.62 -.1,2.62""",
    "bench": """
        trunk*1.5 box   -.8,.8 .42,.5  -.25,.25
        trunk*1.5 box   -.8,.8 .68,.95 .2,.26
        black     boxes .62,.7 0,.95   .2,.25
        black     boxes .62,.7 0,.42   -.22,.2""",
}
